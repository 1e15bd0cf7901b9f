"""Which data the numbers of a table belong to: the digests of the published files' images, whole and reduced."""

from typing import Any

# (data set, train_images, classes) -> Splits.sha256() of what `data.load` makes of the published files, without a
# validation split. CIFAR100 is missing: its published files were not at hand.
_SHA256 = {
    ("mnist", None, None): "31832aa75592396ddffe843186323fb4e5355dd78ed106923e22fac8ae60bcb4",
    ("mnist", 2000, None): "1dc685d2fdc6d2fd3eebd37f9e2c39bf3a1315c3f2b20b502c057a8df76cd474",
    ("mnist", 5000, None): "f8820257fed36a936aac5488343b22666e66a5b7c6f2b429d8b83dcd6ae304e1",
    ("cifar10", None, None): "b0c2546c8d3cb454984131ac7264817e2c5f2512254ac23b0069a553017d86ff",
    ("cifar10", 5000, None): "c90a3c528569ced5f9711dae5277f09d9df3736e1e7e8c4d03af6a1211af3e4b",
}


def expected_sha256(dataset: dict[str, Any]) -> str | None:
    """The digest of this data set, as a run's identity describes it; None where it is not known."""
    name = "cifar10" if dataset["name"] == "cifar10+" else dataset["name"]  # the same images
    other = dataset["validation"] or dataset.get("train_part", 0) or dataset.get("first_class", 0)
    return None if other else _SHA256.get((name, dataset["train_images"], dataset["classes"]))
