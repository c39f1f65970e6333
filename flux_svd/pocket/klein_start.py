"""Turn pocket-flux's transformer into the start of pocket-klein's: linear algebra, nothing is trained here.

FLUX.2's blocks have no biases, share one modulation by the time alone, and their MLPs are gated. So the new transformer is wider
than the old by `CODE` channels, in which every token carries what the picture shall show (`scene_code`), and by `TIMED`
channels that are the same in every token: their modulation scales them away and shifts them by functions of the time, from
which each layer reads its biases. What the old modulation had from the time is fitted; what it had from the words, and it
had shapes from nowhere else, is fitted as far as a gated MLP can express it, and must be learned for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from flux_svd.pocket.klein_lessons import CODE, NOISINGS, LessonPool, scene_code
from flux_svd.pocket.klein_modulation import CODE_SIZE, HEAD, HEADS, OLD, OLD_HEAD, WIDTH, WORDS_CODE_SIZE, Group
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.train_flux import pooled_words, sample_sigmas
from flux_svd.pocket.world import caption, sample_scene

CONSTANT = 4.0  # goes through SiLU nearly unchanged
GELU = 1.702  # gelu(x) is about x · sigmoid(1.702 x); source: Hendrycks and Gimpel 2016, arXiv:1606.08415
CAPTIONS = 256  # by which the old modulation's answer to words is fitted
RIDGE = 1e-4  # of the fits over the time, relative to the mean square of what they read


Linear = tuple[Tensor, Tensor]  # weight (out, in) and bias (out,)


@dataclass(frozen=True)
class Seen:
    """What the old transformer computed of typical pictures: states after the embedders and each block, and activations.

    `words` and `picture` are (n, tokens, 192) each; `active` (n, tokens, 768) by the name of the MLP.
    """

    words: list[Tensor]
    picture: list[Tensor]
    active: dict[str, Tensor]


@torch.no_grad()
def take_over(new: Flux2Transformer2DModel, pool: LessonPool, luck: Luck) -> None:
    """Give `new` the weights of the teacher of `pool`, as far as FLUX.2's layers can express them.

    `new` has `WIDTH` channels and as many blocks, and random weights; what has no counterpart stays small and random. `pool`
    is a new one; its first lessons show what is typical.
    """
    teacher, old = pool.teacher, pool.teacher.transformer
    active: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: active.__setitem__(name, out.float()))
        for name, module in old.named_modules()
        if name.endswith(("ff.net.0", "ff_context.net.0", "act_mlp"))
    ]
    pool.add(pool.capacity // NOISINGS, luck)
    for hook in hooks:
        hook.remove()
    words, picture = ([state.float() for state in states] for states in (pool.states.words, pool.states.picture))
    seen = Seen(words, picture, active)
    scenes = [sample_scene(luck.words) for _ in range(CAPTIONS)]
    codes = torch.tensor([scene_code(scene) for scene in scenes])
    pooled = pooled_words(teacher, [caption(scene, luck.words) for scene in scenes])
    sigma = torch.cat([sample_sigmas(64, luck.noise), torch.linspace(0.02, 1, 32)])
    embedded = old.time_text_embed
    at = embedded.timestep_embedder(embedded.time_proj(sigma * 1000))  # (times, OLD)
    told = functional.silu(at.unsqueeze(1) + embedded.text_embedder(pooled))  # (times, captions, OLD)
    centred = torch.linalg.pinv(torch.cat([torch.ones(len(codes), 1), codes], dim=1))  # (1 + CODE, captions)

    def parts_of(linear: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return what a modulation is at a code of zeros, (times, out), and what each number of the code adds, (out, CODE)."""
        fitted = torch.einsum("pc,tco->tpo", centred, linear(told))
        return fitted[:, 0], fitted[:, 1:].mean(0).T

    targets: dict[str, Tensor] = {}
    for stream in ("img", "txt"):
        targets[f"double_stream_modulation_{stream}"] = _double(new, old, seen, stream, parts_of)
    targets["single_stream_modulation"] = _single(new, old, seen, parts_of)

    out, told_out = parts_of(old.norm_out.linear)
    scale, shift = out.chunk(2, 1)
    told_shift = told_out.chunk(2)[1][None]
    parts = shift[None], scale[None], torch.ones_like(shift)[None]
    group = Group(parts, (told_shift, told_shift, told_shift), seen.picture[-1].std(-1).mean().view(1), CODE_SIZE)
    weight = group.read(0, old.proj_out.weight, old.proj_out.bias)
    times = group.finish([weight])
    new.proj_out.weight.copy_(weight)
    shift, scale, _ = group.modulation(times).chunk(3, 1)
    targets["norm_out"] = torch.cat([scale, shift], dim=1)

    new.x_embedder.weight[:OLD] = old.x_embedder.weight
    new.x_embedder.weight[OLD:] = 0
    _fit_times(new, old, at + embedded.text_embedder(pooled).mean(0), sigma, targets)


def _double(new: Any, old: Any, seen: Seen, stream: str, parts_of: Any) -> Tensor:
    """Fill one stream of the double blocks, and return its modulation (times, 6 · WIDTH)."""
    image = stream == "img"
    norms = [(block.norm1 if image else block.norm1_context).linear for block in old.transformer_blocks]
    mods = [parts_of(linear) for linear in norms]
    states = (seen.picture if image else seen.words)[: len(mods)]
    deviation = torch.stack([state.std(-1).mean() for state in states])
    size = CODE_SIZE if image else WORDS_CODE_SIZE

    def group(index: int) -> Group:
        pick = range(3 * index, 3 * index + 3)
        return Group(
            [torch.stack([mod.chunk(6, 1)[number] for mod, _ in mods]) for number in pick],
            [torch.stack([by_code.chunk(6)[number] for _, by_code in mods]) for number in pick],
            deviation,
            size,
        )

    attention, mlp = group(0), group(1)
    names = ("to_q", "to_k", "to_v", "to_out.0") if image else ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    made: list[Tensor] = []
    for number, block in enumerate(old.transformer_blocks):
        made += [attention.read(number, *_parameters(block.attn, name)) for name in names[:3]]
    times = attention.finish(made)
    for number, (block, was) in enumerate(zip(new.transformer_blocks, old.transformer_blocks, strict=True)):
        for name, weight in zip(names[:3], made[3 * number : 3 * number + 3], strict=True):
            _set_heads(block.attn.get_submodule(name).weight, weight, is_value=name.endswith(("v", "v_proj")))
        prefix = "norm_" if image else "norm_added_"
        _set_norms(block.attn, was.attn, prefix)
        weight, bias = _parameters(was.attn, names[3])
        gate = attention.gate_of[number]
        if image and number == 0:
            through = gate * attention.gate.mean(0)
            bias = bias + old.x_embedder.bias * through / (through.pow(2) + 0.02)
        _set_attention_out(block.attn.get_submodule(names[3]).weight, weight * gate.unsqueeze(1), bias * gate)
        if image and number == 0:  # each picture token fetches the code from the words
            for place in range(CODE):
                column = (place % HEADS) * HEAD + OLD_HEAD + 1 + place // HEADS
                block.attn.to_out[0].weight[OLD + place, column] = CODE_SIZE * 2.5  # about .4 of the attention is on words
    layers = []
    for number, was in enumerate(old.transformer_blocks):
        name = f"transformer_blocks.{number}." + ("ff.net.0" if image else "ff_context.net.0")
        ff = was.ff if image else was.ff_context
        layers.append(_chosen(ff.net[0].proj, ff.net[2], seen.active[name], new.transformer_blocks[0].ff.linear_out.in_features))
    made = [mlp.read(number, inward[0], inward[1]) for number, (inward, _) in enumerate(layers)]
    mlp_times = mlp.finish(made)
    for number, block in enumerate(new.transformer_blocks):
        ff = block.ff if image else block.ff_context
        (_, (outward, bias)), gate = layers[number], mlp.gate_of[number]
        hidden = ff.linear_out.in_features
        ff.linear_in.weight.zero_()
        ff.linear_in.weight[: hidden - 1] = made[number]
        ff.linear_in.weight[hidden - 1, OLD + CODE] = CONSTANT
        ff.linear_in.weight[hidden:, OLD + CODE] = 1
        ff.linear_out.weight.zero_()
        ff.linear_out.weight[:OLD, :-1] = outward * gate.unsqueeze(1)
        ff.linear_out.weight[:OLD, -1] = bias * gate / functional.silu(torch.tensor(CONSTANT))
    return torch.cat([attention.modulation(times), mlp.modulation(mlp_times)], dim=1)


def _single(new: Any, old: Any, seen: Seen, parts_of: Any) -> Tensor:
    """Fill the single blocks, and return their modulation (times, 3 · WIDTH)."""
    blocks = old.single_transformer_blocks
    mods = [parts_of(block.norm.linear) for block in blocks]
    states = seen.picture[len(old.transformer_blocks) : -1]
    group = Group(
        [torch.stack([mod.chunk(3, 1)[number] for mod, _ in mods]) for number in range(3)],
        [torch.stack([by_code.chunk(3)[number] for _, by_code in mods]) for number in range(3)],
        torch.stack([state.std(-1).mean() for state in states]),
        CODE_SIZE,
    )
    hidden = new.single_transformer_blocks[0].attn.mlp_hidden_dim
    made, layers = [], []
    for number, was in enumerate(blocks):
        out = nn.Linear(1, 1)
        out.weight, out.bias = nn.Parameter(was.proj_out.weight[:, OLD:]), was.proj_out.bias
        active = seen.active[f"single_transformer_blocks.{number}.act_mlp"]
        layers.append(_chosen(was.proj_mlp, out, active, hidden + 1))
        made += [group.read(number, *_parameters(was.attn, name)) for name in ("to_q", "to_k", "to_v")]
        made.append(group.read(number, *layers[-1][0]))
    times = group.finish(made)
    for number, (block, was) in enumerate(zip(new.single_transformer_blocks, blocks, strict=True)):
        attn = block.attn
        rows = attn.to_qkv_mlp_proj.weight
        q, k, v, gates = made[4 * number : 4 * number + 4]
        for place, weight in enumerate((q, k, v)):
            _set_heads(rows[place * WIDTH : (place + 1) * WIDTH], weight, is_value=place == 2)
        _set_norms(attn, was.attn, "norm_")
        _, (outward, bias) = layers[number]
        values = rows[3 * WIDTH + hidden :]
        rows[3 * WIDTH : 3 * WIDTH + hidden] = gates
        values.zero_()
        values[:, OLD + CODE] = 1
        # A gate g + told · code on the outputs becomes one on the activations: the least squares of each, taken alone.
        mean = group.gates[number].mean(0)  # (192,)
        square = outward.pow(2).T  # (hidden, 192)
        told = (square @ (mean.unsqueeze(1) * group.told_gates[number])) / (square @ mean.pow(2).unsqueeze(1))
        values[:, OLD : OLD + CODE] = told * group.wide[number] / CODE_SIZE
        gate = group.gate_of[number].unsqueeze(1)
        _set_attention_out(attn.to_out.weight[:, :WIDTH], was.proj_out.weight[:, :OLD] * gate, bias * gate.squeeze(1))
        attn.to_out.weight[:, WIDTH:] = 0
        attn.to_out.weight[:OLD, WIDTH:] = outward * gate
    return group.modulation(times)


def _chosen(inward: nn.Linear, outward: nn.Linear, active: Tensor, hidden: int) -> tuple[Linear, Linear]:
    """Return weights and biases into and out of the `hidden` − 1 units that matter most, the others' means in the bias."""
    active = active.flatten(0, 1)
    matter = active.std(0) * outward.weight.norm(dim=0)
    best = matter.argsort(descending=True)
    kept, left = best[: hidden - 1].sort().values, best[hidden - 1 :]
    bias = outward.bias + outward.weight[:, left] @ active[:, left].mean(0)
    return (GELU * inward.weight[kept], GELU * inward.bias[kept]), (outward.weight[:, kept] / GELU, bias)


def _parameters(module: nn.Module, name: str) -> Linear:
    linear: Any = module.get_submodule(name)
    return linear.weight, linear.bias


def _set_heads(weight: Tensor, rows: Tensor, *, is_value: bool) -> None:
    """Write `rows` (192, WIDTH) to `weight` (WIDTH, WIDTH), whose heads are longer.

    Of the further rows of values the first is one and the next carry the code; those of queries and keys stay small.
    """
    heads = weight.view(HEADS, HEAD, -1)
    heads[:, :OLD_HEAD] = rows.reshape(HEADS, OLD_HEAD, -1)
    if is_value:
        heads[:, OLD_HEAD:] = 0
        heads[0, OLD_HEAD, OLD + CODE] = 1
        for place in range(CODE):
            heads[place % HEADS, OLD_HEAD + 1 + place // HEADS, OLD + place] = 1
    else:
        heads[:, OLD_HEAD:] *= 0.1


def _set_attention_out(weight: Tensor, columns: Tensor, bias: Tensor) -> None:
    """Write an output of attention to `weight` (WIDTH, WIDTH); the bias comes with the value that is one."""
    weight.zero_()
    heads = weight.view(-1, HEADS, HEAD)
    heads[:OLD, :, :OLD_HEAD] = columns.reshape(-1, HEADS, OLD_HEAD)
    heads[:OLD, 0, OLD_HEAD] = bias


def _set_norms(new: Any, old: Any, prefix: str) -> None:
    """Copy the norms of queries and keys, so that their products are as before in longer heads that are nearly empty there."""
    for name in ("q", "k"):
        weight = getattr(new, prefix + name).weight
        weight[:OLD_HEAD] = getattr(old, prefix + name).weight
        weight *= (OLD_HEAD / HEAD) ** 0.25


def _fit_times(new: Any, old: Any, wanted: Tensor, sigma: Tensor, targets: dict[str, Tensor]) -> None:
    """Fill the embedding of the time, and fit each modulation to its target (times, ·)."""
    embed = new.time_guidance_embed
    waves = embed.time_proj(sigma * 1000)  # (times, 256)
    one = _ridge(waves, torch.ones(len(sigma), 1))  # (1, 256): gives one at every time
    was = old.time_text_embed.timestep_embedder
    first, second = embed.timestep_embedder.linear_1.weight, embed.timestep_embedder.linear_2.weight
    first[:OLD] = was.linear_1.weight + was.linear_1.bias.unsqueeze(1) * one
    first[OLD] = CONSTANT * one
    second.zero_()
    hidden = functional.silu(waves @ first.T)
    second[:OLD] = _ridge(hidden, wanted)
    second[OLD:] = _ridge(hidden, torch.full((len(sigma), WIDTH - OLD), CONSTANT))
    read = functional.silu(hidden @ second.T)
    for name, target in targets.items():
        module = new.get_submodule(name).linear
        module.weight.copy_(_ridge(read, target))


def _ridge(reads: Tensor, wanted: Tensor) -> Tensor:
    """Return the weight (out, in) with which `reads` (times, in) give `wanted` (times, out), small where it can be."""
    reads, wanted = reads.double(), wanted.double()
    square = reads.T @ reads
    square += RIDGE * len(reads) * reads.pow(2).mean() * torch.eye(len(square), dtype=torch.float64)
    weight: Tensor = torch.linalg.solve(square, reads.T @ wanted)
    return weight.T.float()
