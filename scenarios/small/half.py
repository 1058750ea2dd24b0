"""Stores the tensors of an adapter in 16 bits, and leaves only PEFT's two files in its folder: half.py FOLDER"""

import sys
from pathlib import Path

import numpy
from safetensors.numpy import load_file, save_file

folder = Path(sys.argv[1])
weights = folder / "adapter_model.safetensors"
tensors = {name: tensor.astype(numpy.float16) for name, tensor in load_file(weights).items()}
save_file(tensors, weights, metadata={"format": "pt"})
config = folder / "adapter_config.json"
lines = config.read_text().splitlines(keepends=True)
# Where the base lay on the machine that trained the adapter says nothing to others.
config.write_text("".join('  "base_model_name_or_path": "SmolLM2-135M behind Whisper tiny.en",\n' if "base_model_name" in line else line for line in lines))
for file in folder.iterdir():
    if file not in (weights, config):
        file.unlink()
