"""site: requests and answers, whatever somebody sends."""
