"""The tests, through the public interface."""
