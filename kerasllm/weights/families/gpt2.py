"""GPT-2: learned positions, layer norms with a bias, and queries, keys and values in one matrix (in, 3 out).

Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.3; names and defaults
of modeling_gpt2.py and configuration_gpt2.py in https://github.com/huggingface/transformers.
"""

from kerasllm.models import GPTSettings, gpt_settings
from kerasllm.weights.families.config import Config
from kerasllm.weights.families.family import EMBEDDING, HEAD, Family, Straight, Third
from kerasllm.weights.families.parts import MOST_LAYERS, activation_name

TENSORS = {
    EMBEDDING: "wte.weight",
    "positions/embeddings": "wpe.weight",
    "final_norm/gamma": "ln_f.weight",
    "final_norm/beta": "ln_f.bias",
    "logits/kernel": HEAD,
}
BLOCK = {
    "attention_norm/gamma": "ln_1.weight",
    "attention_norm/beta": "ln_1.bias",
    "attention/query/kernel": Third("attn.c_attn.weight", 0),
    "attention/query/bias": Third("attn.c_attn.bias", 0),
    "attention/key/kernel": Third("attn.c_attn.weight", 1),
    "attention/key/bias": Third("attn.c_attn.bias", 1),
    "attention/value/kernel": Third("attn.c_attn.weight", 2),
    "attention/value/bias": Third("attn.c_attn.bias", 2),
    "attention/output/kernel": Straight("attn.c_proj.weight"),
    "attention/output/bias": "attn.c_proj.bias",
    "feed_forward_norm/gamma": "ln_2.weight",
    "feed_forward_norm/beta": "ln_2.bias",
    "feed_forward/expand/kernel": Straight("mlp.c_fc.weight"),
    "feed_forward/expand/bias": "mlp.c_fc.bias",
    "feed_forward/project/kernel": Straight("mlp.c_proj.weight"),
    "feed_forward/project/bias": "mlp.c_proj.bias",
}


def read(config: Config) -> GPTSettings:
    """The settings of a GPT-2."""
    config.only("scale_attn_weights", True)
    config.only("scale_attn_by_inverse_layer_idx", False)
    context, width, layers = config.whole("n_positions", 1024), config.whole("n_embd", 768), config.whole("n_layer", 12)
    if layers > MOST_LAYERS:
        raise config.refused("n_layer", f"the most is {MOST_LAYERS:,}")
    config.only("n_ctx", context)  # an older name of the same
    dropout = config.dropout("resid_pdrop", 0.1)
    if config.dropout("embd_pdrop", dropout) != dropout:
        raise config.refused("embd_pdrop", f"resid_pdrop is {dropout}, and a GPT has one dropout for both: ignore one")
    settings = gpt_settings(
        vocabulary_size=config.whole("vocab_size", 50257),
        context_length=context,
        num_layers=layers,
        num_heads=config.whole("n_head", 12),
        embedding_dim=width,
        hidden_dim=config.whole("n_inner", min(4 * width, 1 << 24)),
        epsilon=config.real("layer_norm_epsilon", 1e-5),
        activation=config.activation("activation_function", "gelu_new"),
        tied=config.flag("tie_word_embeddings", True),
        dropout=dropout,
    )
    settings.attention[0].dropout = config.dropout("attn_pdrop", 0.1)
    return settings


def write(settings: GPTSettings) -> dict:
    """The config.json of a GPT-2."""
    attention = settings.attention[0]
    return {
        "vocab_size": settings.vocabulary_size,
        "n_positions": settings.context_length,
        "n_ctx": settings.context_length,
        "n_embd": settings.embedding_dim,
        "n_layer": settings.num_layers,
        "n_head": attention.num_heads,
        "n_inner": getattr(settings.feed_forward[0], "hidden_dim", 1),
        "layer_norm_epsilon": getattr(settings.norm, "epsilon", 1e-5),
        "activation_function": activation_name(settings, "gelu_new"),
        "tie_word_embeddings": settings.tied,
        "resid_pdrop": settings.dropout,
        "embd_pdrop": settings.dropout,
        "attn_pdrop": attention.dropout,
    }


GPT2 = Family(
    model_type="gpt2",
    class_name="GPT2LMHeadModel",
    base_name="GPT2Model",
    read=read,
    write=write,
    tensors=TENSORS,
    block=BLOCK,
    layers="h.{}.",
    prefixes=("transformer.", ""),
    # Which pairs may look, as old versions stored it.
    no_weights=(r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",),
)
