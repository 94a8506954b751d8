"""Files of peers that change, vanish or are full at the moment in which they are read or folded."""

import os
from pathlib import Path

from pyvars.workers.numbers.segment import CHUNK, H_FIGURES, H_GENERATION
from tests.workers.test_damage import ORDERS, ROOT, segment, with_figures_of
from tests.workers.test_segments import READER, file, is_alone, measured, real_files

CHANGING = f"""
import os, sys, threading
file, word = os.open(sys.argv[1], os.O_RDWR), {H_GENERATION}
def change(frame, event, what):
    if word and event == "c_call" and what is os.pread:  # before each reading, in whichever thread
        before = int.from_bytes(os.pread(file, 8, 8 * word), "little")
        os.pwrite(file, (before + 2).to_bytes(8, "little"), 8 * word)
threading.setprofile(change)
sys.setprofile(change)
{READER.rpartition("for line in")[0]}
for line in sys.stdin:
    word = int(line)
    print(json.dumps(ask()), flush=True)
"""


def test_a_file_that_changes_faster_than_it_can_be_read(tmp_path: Path) -> None:
    """The page has the numbers of the previous reading, if there was one."""
    tmp_path.chmod(0o700)
    data = with_figures_of(segment(ROOT, ORDERS), b"{}", flip=1)
    with file(tmp_path / "w-1-1-a", data, lives=True):
        with measured(CHANGING, tmp_path / "w-1-1-a", PYVARS_SHARE=tmp_path) as reader:
            page = reader.page(H_GENERATION)
            assert page["pyvars.workers"]["reason"] == "w-1-1-a: it changes faster than it can be read"
            assert is_alone(page)
            for changing in (0, H_GENERATION, H_FIGURES, 0):
                page = reader.page(changing)
                assert page["orders"] == 1005
                assert page["pyvars.workers"]["reason"] == ""


MENDED = f"""
import shutil, sys, time
def mend(frame, event, what):
    if event == "return" and frame.f_code.co_name == "read_group":
        shutil.copyfile(sys.argv[2], sys.argv[1])
        time.sleep(0.15)  # longer than a reading is used again
sys.setprofile(mend)
{READER}
"""


def test_a_file_that_is_mended_while_the_page_is_made(tmp_path: Path) -> None:
    """The page has no numbers of it, so it says that some are missing."""
    shared, mended = tmp_path / "shared", tmp_path / "mended"
    shared.mkdir(mode=0o700)
    mended.write_bytes(segment(ROOT, ORDERS))
    with file(shared / "w-1-1-a", segment(ROOT, ORDERS)[:100], lives=True):
        with measured(MENDED, shared / "w-1-1-a", mended, PYVARS_SHARE=shared) as reader:
            page = reader.page()
            assert is_alone(page)
            workers = page["pyvars.workers"]
            assert (workers["shared"], workers["reason"][:9], workers["live"]) == (False, "w-1-1-a: ", 1)
            assert page["pyvars.errors"]["pyvars.workers"]["type"] == "incomplete"
            assert reader.page()["orders"] == 1005


VANISHING = f"""
import sys, os
def vanish(event, about):
    if event == "open" and str(about[0]).endswith("w-1-1-a"):
        os.unlink(about[0])
sys.addaudithook(vanish)
{READER}
"""


def test_a_file_that_goes_while_the_directory_is_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with measured(VANISHING, PYVARS_SHARE=tmp_path) as reader:
        (tmp_path / "w-1-1-a").write_bytes(segment(ROOT, ORDERS))
        page = reader.page()
        assert is_alone(page)
        assert page["pyvars.workers"]["reason"] == ""
        assert not (tmp_path / "w-1-1-a").exists()


UNSETTLED = f"""
import itertools, os, sys
moments = itertools.count(1)
def change(event, about):
    if event == "os.listdir" and str(about[0]) == os.environ["PYVARS_SHARE"]:
        os.utime(about[0], (0, next(moments)))
sys.addaudithook(change)
{READER}
"""


def test_a_directory_that_changes_whenever_it_is_read(tmp_path: Path) -> None:
    """It is read a few times, and what was read last is on the page."""
    tmp_path.chmod(0o700)
    with measured(UNSETTLED, PYVARS_SHARE=tmp_path) as reader:
        assert is_alone(reader.page())
        with file(tmp_path / "w-1-1-a", segment(ROOT, ORDERS), lives=True):
            page = reader.page()
            assert (page["orders"], page["pyvars.workers"]["live"]) == (1005, 2)


LIMITED = f"""
import resource
{READER.rpartition("for line in")[0]}
for line in sys.stdin:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(line) or resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps(ask()), flush=True)
"""


def test_a_disk_that_becomes_full_while_the_dead_are_moved(tmp_path: Path) -> None:
    """The counts stay in the segments, and no file of the attempt is left."""
    tmp_path.chmod(0o700)
    with measured(LIMITED, PYVARS_SHARE=tmp_path) as reader:
        reader.page(0)
        (tmp_path / "w-1-1-a").write_bytes(real_files()[1])
        before = sorted(os.listdir(tmp_path))
        for _ in range(2):
            page = reader.page(CHUNK)  # room for half of the file
            assert (page["orders"], page["pyvars.workers"]["retired"]) == (1005, 1)
            assert sorted(os.listdir(tmp_path)) == before
        assert reader.page(0)["orders"] == 1005
        assert (tmp_path / "retired").exists()
        assert not (tmp_path / "w-1-1-a").exists()


def test_of_too_many_names_that_nobody_shows_the_last_are_kept(tmp_path: Path) -> None:
    """Here the limit is a twentieth of the real one."""
    tmp_path.chmod(0o700)
    code = f"import pyvars.workers.numbers.retired; pyvars.workers.numbers.retired.MAX_UNSEEN = 1000{READER}"
    many = real_files()[1]
    with measured(code, PYVARS_SHARE=tmp_path) as reader:
        (tmp_path / "w-1-1-a").write_bytes(many)
        assert reader.page()["orders"] == 1005
        with file(tmp_path / "w-1-1-b", many, lives=True):
            page = reader.page()
            assert (page["orders"], page["pyvars.workers"]["retired"]) == (2005, 1)
            assert page["number_50"] == 50
            assert page["number_1499"] == 2 * 1499
            (tmp_path / "w-1-1-c").write_bytes(many)  # a live worker publishes all of its names
            page = reader.page()
            assert (page["number_50"], page["number_1499"]) == (100, 3 * 1499)
            assert not (tmp_path / "w-1-1-c").exists()
