"""scripts/identify.py end to end on feature files."""

import json
import struct

import numpy as np
import pytest
import torch

from lsoftmax.metrics import identify

RNG = np.random.default_rng(0)
IDS = np.arange(12) // 3
PROBES = (RNG.normal(size=(4, 6))[IDS] + 0.7 * RNG.normal(size=(12, 6))).astype(np.float32)
DISTRACTORS = RNG.normal(size=(90, 6)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "probes.npz", embeddings=PROBES, ids=IDS)
    np.save(tmp_path / "distractors.npy", DISTRACTORS)
    return [f"probes={tmp_path / 'probes.npz'}", f"distractors={tmp_path / 'distractors.npy'}"]


def test_the_numbers_are_identifys(script, files, tmp_path):
    options = ["sizes=10,90", "ranks=1,5", "far=0.01,0.1", "seed=none", f"out={tmp_path / 'out'}"]
    said = script("identify", *files, *options)
    expected = identify(PROBES, IDS, DISTRACTORS, sizes=[10, 90], ranks=(1, 5), far=(0.01, 0.1))
    assert said.code == 0 and "24 trials" in said.out
    assert f"rank-1 {100 * expected[90].rank[1]:.3f} %" in said.out.splitlines()[2]
    found = json.loads((tmp_path / "out" / "identification.json").read_text())
    for entry, (size, result) in zip(found["sets"], expected.items(), strict=True):
        assert entry["distractors"] == size and entry["ties"] == result.ties
        assert entry["rank"] == {str(k): rate for k, rate in result.rank.items()}
        assert [(rate["tar"], rate["realised_far"]) for rate in entry["tar_at_far"]] == list(result.tar_at_far.values())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"identification.json", "cmc.png", "cmc.svg"}


def test_a_seed_shuffles_the_nested_sets_but_not_the_whole(script, files):
    first, second = (script("identify", *files, "sizes=10,90", f"seed={seed}").out.splitlines() for seed in (1, 2))
    assert first[1] != second[1] and first[2] == second[2]
    assert script("identify", *files).out.splitlines()[1] == first[2]


def test_folders_of_matrices_say_who_is_who(script, files, tmp_path):
    for index, vector in enumerate(PROBES):
        (tmp_path / "p" / f"id{IDS[index]}").mkdir(parents=True, exist_ok=True)
        matrix = struct.pack("<4i", len(vector), 1, 4, 5) + vector.tobytes()  # OpenCV's: rows, columns, step, float32
        (tmp_path / "p" / f"id{IDS[index]}" / f"{index}.png_alg.bin").write_bytes(matrix)
    one = script("identify", *files)
    assert script("identify", f"probes={tmp_path / 'p'}", files[1]).out == one.out
    names = [f"id{IDS[index]}/{index}.png" for index in range(12)]
    (tmp_path / "list.json").write_text(json.dumps({"path": names, "id": [f"x{k}" for k in IDS]}))
    listed = [f"probes={tmp_path / 'p'}", f"probe_list={tmp_path / 'list.json'}", "suffix=_alg.bin"]
    assert script("identify", *listed, files[1]).out == one.out


def test_identities_in_a_text_file(script, files, tmp_path):
    np.save(tmp_path / "p.npy", PROBES)
    (tmp_path / "ids.txt").write_text("".join(f"person {k}\n" for k in IDS))
    said = script("identify", f"probes={tmp_path / 'p.npy'}", files[1], f"ids={tmp_path / 'ids.txt'}")
    assert said.out == script("identify", *files).out
    (tmp_path / "ids.txt").write_text("a\n")
    said = script("identify", f"probes={tmp_path / 'p.npy'}", files[1], f"ids={tmp_path / 'ids.txt'}")
    assert said.code == 2 and "has 1 lines for 12 probes" in said.err
    said = script("identify", f"probes={tmp_path / 'p.npy'}", files[1])
    assert said.code == 2 and "does not say who the probes are" in said.err and said.err.count("\n") == 1


def test_a_byte_order_mark_is_no_part_of_the_first_identity(script, files, tmp_path):
    np.save(tmp_path / "p.npy", PROBES)
    (tmp_path / "ids.txt").write_text("".join(f"person {k}\n" for k in IDS), encoding="utf-8-sig")
    said = script("identify", f"probes={tmp_path / 'p.npy'}", files[1], f"ids={tmp_path / 'ids.txt'}")
    assert said.out == script("identify", *files).out


def test_tied_trials_are_told(script, tmp_path):
    np.savez(tmp_path / "p.npz", embeddings=np.ones((4, 3), np.float32), ids=[0, 0, 1, 1])
    np.save(tmp_path / "d.npy", np.ones((20, 3), np.float32))
    said = script("identify", f"probes={tmp_path / 'p.npz'}", f"distractors={tmp_path / 'd.npy'}")
    assert "rank-1 0.000 %" in said.out and "4 trials tied" in said.out
    assert "no impostor accepted: too few distractors, or they tie" in said.out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["probes=a"], "distractors= is missing"),
        (["probes=a", "distractors=b", "wrong=1"], "unknown option wrong=1"),
        (["probes=a", "distractors=b", "sizes=0"], "sizes must be integers"),
        (["probes=a", "distractors=b", "ranks=x"], "ranks must be integers"),
        (["probes=a", "distractors=b", "far=0"], "far must be rates"),
        (["probes=a", "distractors=b", "seed=-1"], "seed must be an integer >= 0"),
        (["probes=nowhere.npy", "distractors=b"], "nowhere.npy"),
        (["nonsense"], "key=value"),
    ],
)
def test_a_wrong_option_is_one_line(script, options, part):
    said = script("identify", *options)
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


def test_sizes_beyond_the_distractors_are_refused(script, files):
    said = script("identify", *files, "sizes=10,91")
    assert said.code == 2 and "there are only 90 distractors" in said.err


def test_a_row_without_direction_is_one_line_that_names_the_files(script, files, tmp_path):
    broken = DISTRACTORS.copy()
    broken[70] = 0
    np.save(tmp_path / "distractors.npy", broken)
    said = script("identify", *files)
    assert said.code == 2 and "row 70 of distractors is all zero" in said.err and "distractors.npy" in said.err
    assert "row 70 of distractors is all zero" in script("identify", *files, "sizes=10,90").err  # shuffled


def test_help_says_what_it_is_for(script):
    said = script("identify", "-h")
    assert said.code == 0 and "MegaFace" in said.out


def devkits(folder):
    return {path.name: json.loads(path.read_text()) for path in folder.glob("cmc_*.json")}


def test_the_devkits_files_have_ranks_from_0_and_the_roc(script, files, tmp_path):
    options = ["sizes=10,90", "far=0.01,0.1", "seed=3", "alg=lsoftmax-m4", f"out={tmp_path / 'out'}"]
    assert script("identify", *files, *options).code == 0
    found = devkits(tmp_path / "out")
    assert found.keys() == {f"cmc_probes_distractors_lsoftmax-m4_{size}_3.json" for size in (10, 90)}
    expected = identify(PROBES, IDS, DISTRACTORS, far=(0.01, 0.1))
    whole = found["cmc_probes_distractors_lsoftmax-m4_90_3.json"]
    assert whole["cmc"] == [list(range(91)), expected.cmc.tolist()] and whole["cmc"][1][-1] == 1
    far, tar = whole["roc"]
    assert far[0] == 0 and far == sorted(far) and tar == sorted(tar) and far[-1] <= 0.1
    for rate in expected.tar_at_far.values():
        assert tar[far.index(rate.realised_far)] == pytest.approx(rate.tar)


def test_without_alg_the_devkits_files_are_not_written(script, files, tmp_path):
    script("identify", *files, f"out={tmp_path / 'out'}")
    assert devkits(tmp_path / "out") == {}


@pytest.mark.parametrize("options", [["alg=x"], ["alg=a/b", "out=x"], ["alg=", "out=x"]])
def test_a_wrong_name_of_the_algorithm_is_one_line(script, files, options):
    said = script("identify", *files, *options)
    assert said.code == 2 and said.err.startswith("error: alg=") and said.err.count("\n") == 1


@pytest.fixture
def named(tmp_path):
    """The same features with names, and a list of noise: the probes 2 and 7, the distractors 0, 1 and 40."""
    np.savez(tmp_path / "probes.npz", embeddings=PROBES, ids=IDS, names=[f"p/{k}.png" for k in range(12)])
    np.savez(tmp_path / "d.npz", embeddings=DISTRACTORS, names=[f"d/{k}.png_alg.bin" for k in range(90)])
    noise = tmp_path / "noise.txt"
    noise.write_text("p/2.png\np/7.png\nd/0.png\nd/1.png\nd/40.png_alg.bin\nnobody.png\n\n")
    return [f"probes={tmp_path / 'probes.npz'}", f"distractors={tmp_path / 'd.npz'}", "suffix=_alg.bin"]


def test_noise_is_left_out_beside_the_raw_numbers(script, named, tmp_path):
    options = [f"noise={tmp_path / 'noise.txt'}", "sizes=10,90", "seed=none", "far=0.1", f"out={tmp_path / 'out'}"]
    said = script("identify", *named, *options)
    assert said.code == 0 and "noise: 2 probes and 3 distractors left out, of 6 names" in said.out
    raw = script("identify", *named, "sizes=10,90", "seed=none", "far=0.1").out
    assert said.out.startswith(raw)
    clean = np.setdiff1d(np.arange(12), [2, 7])
    of = np.setdiff1d(np.arange(90), [0, 1, 40])
    expected = identify(PROBES[clean], IDS[clean], DISTRACTORS[of], sizes=[8, 87], far=(0.1,))
    found = json.loads((tmp_path / "out" / "identification.json").read_text())
    assert [entry["distractors"] for entry in found["sets"]] == [10, 90] and found["trials"] == 24
    refined = found["without_noise"]
    assert refined["trials"] == expected[87].trials
    for entry, result in zip(refined["sets"], expected.values(), strict=True):
        assert entry["distractors"] == result.distractors and entry["rank"]["1"] == result.rank[1]


def test_insightfaces_lists_of_noise_are_read_as_they_are(script, named, tmp_path):
    (tmp_path / "facescrub.txt").write_text("# basenames\n2.png\n7.png\n")
    (tmp_path / "megaface.txt").write_text("#index\tpath\n1\td/0.png\n2\td/1.png\n3\td/40.png\n")
    lists = f"{tmp_path / 'facescrub.txt'},{tmp_path / 'megaface.txt'}"
    np.savez(tmp_path / "d.npz", embeddings=DISTRACTORS, names=[f"d/{k + 100 * (k in (2, 7))}.png" for k in range(90)])
    said = script("identify", *named, f"noise={lists}")
    assert said.code == 0 and "noise: 2 probes and 3 distractors left out, of 5 names" in said.out


def test_lists_of_noise_add_up(script, named, tmp_path):
    (tmp_path / "more.txt").write_text("p/3.png\nd/5.png\n")
    said = script("identify", *named, f"noise={tmp_path / 'noise.txt'},{tmp_path / 'more.txt'}")
    assert said.code == 0 and "noise: 3 probes and 4 distractors left out, of 8 names" in said.out


@pytest.mark.parametrize("text", ["nobody.png\n", "x/2.png\n", "# p/2.png\n"])
def test_a_list_of_noise_that_meets_nothing_is_one_line(script, named, tmp_path, text):
    (tmp_path / "other.txt").write_text(text)
    said = script("identify", *named, f"noise={tmp_path / 'noise.txt'},{tmp_path / 'other.txt'}")
    assert said.code == 2 and "other.txt: none of its" in said.err and said.err.count("\n") == 1


def test_a_shuffled_set_without_noise_is_the_same_set_without_it(script, named, tmp_path):
    script("identify", *named, f"noise={tmp_path / 'noise.txt'}", "sizes=30", "seed=5", f"out={tmp_path / 'out'}")
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5)).numpy()[:30]
    of = order[~np.isin(order, [0, 1, 40])]
    clean = np.setdiff1d(np.arange(12), [2, 7])
    [entry] = json.loads((tmp_path / "out" / "identification.json").read_text())["without_noise"]["sets"]
    expected = identify(PROBES[clean], IDS[clean], DISTRACTORS[of])
    assert (entry["distractors"], entry["rank"]["1"]) == (len(of), expected.rank[1])


def test_each_shuffled_set_is_without_its_own_noise(script, named, tmp_path):
    order = torch.randperm(90, generator=torch.Generator().manual_seed(5)).numpy()
    sizes = [5, 20, 50, 80]
    asked = ["sizes=" + ",".join(map(str, sizes)), "seed=5", f"out={tmp_path / 'out'}"]
    script("identify", *named, f"noise={tmp_path / 'noise.txt'}", *asked)
    found = json.loads((tmp_path / "out" / "identification.json").read_text())["without_noise"]["sets"]
    assert [entry["distractors"] for entry in found] == [int((~np.isin(order[:n], [0, 1, 40])).sum()) for n in sizes]


def test_a_size_of_nothing_but_noise_is_said(script, named, tmp_path):
    (tmp_path / "noise.txt").write_text("d/0.png\nd/1.png\n")
    options = [f"noise={tmp_path / 'noise.txt'}", "seed=none"]
    said = script("identify", *named, *options, "sizes=2,30")
    assert said.code == 0 and "note: all of the first 2 distractors are noise" in said.out
    said = script("identify", *named, *options, "sizes=2")
    assert said.code == 2 and "sizes=2: no distractor is left" in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("listed", "part"),
    [
        (None, "noise.txt: cannot be read"),
        ("".join(f"d/{k}.png\n" for k in range(90)), "no distractor is left"),
        ("".join(f"p/{k}.png\n" for k in range(1, 12)), "no identity has two probes"),
    ],
)
def test_noise_that_cannot_be_is_one_line(script, named, tmp_path, listed, part):
    (tmp_path / "noise.txt").unlink()
    if listed:
        (tmp_path / "noise.txt").write_text(listed)
    said = script("identify", *named, f"noise={tmp_path / 'noise.txt'}")
    assert said.code == 2 and part in said.err and said.err.count("\n") == 1


def test_features_without_names_have_no_noise(script, tmp_path, files):
    (tmp_path / "noise.txt").write_text("a\n")
    said = script("identify", *files, f"noise={tmp_path / 'noise.txt'}")
    assert said.code == 2 and "needs features with names" in said.err


def test_refined_features_are_told_by_their_width(script, tmp_path):
    wide = RNG.normal(size=(20, 513)).astype(np.float32)
    np.savez(tmp_path / "p.npz", embeddings=wide[:4], ids=[0, 0, 1, 1])
    np.save(tmp_path / "d.npy", wide[4:])
    said = script("identify", f"probes={tmp_path / 'p.npz'}", f"distractors={tmp_path / 'd.npy'}")
    assert said.code == 0 and said.out.startswith("note: 513 numbers")
