"""Writes a trained decoder and its tokenizer as a checkpoint folder."""

import json

from safetensors.torch import save_file

from .decoder import GEOMETRY
from .text import CHAT_TEMPLATE, END, PAD, SPECIALS


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_model(model, tokenizer, out):
    out.mkdir(parents=True, exist_ok=True)
    tensors = {n: w.detach().bfloat16().contiguous() for n, w in zip(model.names, model.weights)}
    save_file(tensors, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # save_file leaves it readable to its owner only
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        **GEOMETRY,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "pad_token_id": PAD,
        "bos_token_id": None,
        "eos_token_id": END,
        "torch_dtype": "bfloat16",
    }
    write_json(out / "config.json", config)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": GEOMETRY["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "pad_token": SPECIALS[PAD],
        "eos_token": SPECIALS[END],
        "additional_special_tokens": SPECIALS[2:],
        "chat_template": CHAT_TEMPLATE,
    }
    write_json(out / "tokenizer_config.json", settings)
    write_json(out / "generation_config.json", {"do_sample": False, "pad_token_id": PAD, "eos_token_id": END})
