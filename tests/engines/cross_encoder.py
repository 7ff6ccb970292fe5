"""Makes a cross-encoder of all-MiniLM-L6-v2 and a random last layer: `python cross_encoder.py WEIGHTS FOLDER`.

None comes as a package. Its file says, as those of published ones do, that a score is the plain logit.
"""

# mypy: allow-untyped-calls

import json
import sys
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer, BertForSequenceClassification


def main(weights: Path, folder: Path) -> None:
    torch.manual_seed(3)
    config = AutoConfig.from_pretrained(weights)
    config.num_labels = 1
    model = BertForSequenceClassification.from_pretrained(weights, config=config)
    # Wide enough that scores differ by more than two engines do.
    model.classifier.weight.data.normal_(0.0, 0.4)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights).save_pretrained(folder)
    written = folder / "config.json"
    said = json.loads(written.read_text("utf-8"))
    said["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    written.write_text(json.dumps(said), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
