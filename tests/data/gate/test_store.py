"""Facts kept between runs: believed only while nothing changed, and never when the store is damaged."""

import multiprocessing
import os
import shutil
import sqlite3

import pytest
from tiny_data import disc, picture, save

from delineate.data import index
from delineate.data.gate import check_cases, facts, store
from delineate.data.gate.facts import gather
from delineate.data.gate.store import FactStore


@pytest.fixture
def kept(make_folder, tmp_path, monkeypatch):
    """Cases, a store that knows them, and the list of cases that are read from now on."""
    monkeypatch.setattr(store, "RACY_NS", 0)  # the files of a test are younger than two seconds
    cases = index(make_folder(5))
    known = FactStore(tmp_path / "gate.sqlite")
    first = gather(cases, store=known)
    read = []
    plain = facts.read_facts
    monkeypatch.setattr(facts, "read_facts", lambda case: read.append(case.id) or plain(case))
    return cases, known, first, read


def test_unchanged_files_are_not_read_again(kept):
    cases, known, first, read = kept
    assert gather(cases, store=FactStore(known.path)) == first
    assert read == []


@pytest.mark.parametrize("change", ["image", "mask", "encoding", "touch", "window"])
def test_what_changed_is_read_again(kept, change):
    from dataclasses import replace

    cases, known, first, read = kept
    if change == "image":
        save(picture(99), cases[1].image)
    elif change == "mask":
        save(disc(7), cases[1].mask)
    elif change == "touch":
        os.utime(cases[1].image, ns=(1, 1))
    elif change == "encoding":
        cases[1] = replace(cases[1], encoding=replace(cases[1].encoding, threshold=100))
    else:
        cases[1] = replace(cases[1], window=(0.0, 255.0))
    again = gather(cases, store=known)
    assert read == ["a01"]
    assert (again["a01"] != first["a01"]) == (change in ("image", "mask", "encoding"))
    assert gather(cases, store=known) == again
    assert read == ["a01"]


def test_files_changed_a_moment_ago_are_not_believed(kept, monkeypatch):
    cases, known, _, read = kept
    monkeypatch.setattr(store, "RACY_NS", 3600 * 10**9)
    gather(cases, store=known)
    assert len(read) == 5


def test_unreadable_files_are_tried_again(kept):
    cases, known, _, read = kept
    cases[2].image.write_bytes(b"broken")
    gather(cases, store=known)
    gather(cases, store=known)
    assert read == ["a02", "a02"]


@pytest.mark.parametrize("damage", ["text", "cut", "bits", "row", "other table", "text row"])
def test_a_damaged_store_is_replaced(kept, damage):
    cases, known, first, read = kept
    content = known.path.read_bytes()
    if damage == "text":
        known.path.write_bytes(b"this is no database, but quite long " * 50)
    elif damage == "cut":
        known.path.write_bytes(content[: len(content) // 2])
    elif damage == "bits":
        known.path.write_bytes(content[:100] + bytes(255 - byte for byte in content[100:]))
    else:
        connection = sqlite3.connect(known.path)
        if damage == "row":
            connection.execute("UPDATE facts SET content = replace(content, '24', '25')")
        elif damage == "text row":
            connection.execute("UPDATE facts SET digest = 'x', stamp = 5")
        else:
            connection.execute("DROP TABLE facts")
            connection.execute("CREATE TABLE facts (a)")
        connection.commit()
        connection.close()
    assert gather(cases, store=FactStore(known.path)) == first
    assert len(read) == 5
    read.clear()
    assert gather(cases, store=FactStore(known.path)) == first
    # What a removed store should have received is read once more; then it is whole again.
    assert len(read) in (0, 5)
    read.clear()
    assert gather(cases, store=FactStore(known.path)) == first
    assert read == []


def test_a_folder_that_cannot_be_used_costs_only_time(kept, tmp_path):
    cases, _, first, read = kept
    (tmp_path / "file").write_text("")
    assert gather(cases, store=FactStore(tmp_path / "file" / "gate.sqlite")) == first
    assert len(read) == 5


def test_two_processes_at_once(kept, tmp_path):
    cases, _, first, read = kept
    path = tmp_path / "shared.sqlite"

    def fill() -> None:
        for _ in range(20):
            gather(cases, store=FactStore(path), workers=1)

    processes = [multiprocessing.get_context("fork").Process(target=fill) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert gather(cases, store=FactStore(path)) == first
    assert read == []


def test_the_report_is_the_same_from_the_store(kept, monkeypatch, tmp_path):
    cases, _, _, read = kept
    monkeypatch.setenv("DELINEATE_CACHE", str(tmp_path / "cache"))
    shutil.copy(cases[0].image, cases[1].image)
    first = check_cases(cases)
    assert (tmp_path / "cache" / "gate.sqlite").is_file()
    read.clear()
    assert check_cases(cases) == first
    assert read == []
    assert check_cases(cases, remember=False) == first
    assert len(read) == 5
