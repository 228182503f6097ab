"""Real pipelines of diffusers with random weights, small enough to make and run in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch


def save_instruct_pix2pix(folder: Path, **parts: Any) -> str:
    """`StableDiffusionInstructPix2PixPipeline`: a UNet of 8 channels, 4 of noise and 4 of the picture; made at 32 x 32."""
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionInstructPix2PixPipeline

    torch.manual_seed(0)
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=_vae(channels=(16, 16)),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder),
        unet=_unet(in_channels=8),
        scheduler=EulerAncestralDiscreteScheduler(),
        safety_checker=parts.get("safety_checker"),
        feature_extractor=parts.get("feature_extractor"),
        requires_safety_checker="safety_checker" in parts,
    )
    return _saved(pipeline, folder / "tiny-pix2pix")


def save_text_to_image(folder: Path) -> str:
    """`StableDiffusionPipeline`, which draws and edits nothing."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=_vae(channels=(16, 16)),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder),
        unet=_unet(in_channels=4),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _saved(pipeline, folder / "tiny-text-to-image")


def save_kontext(folder: Path) -> str:
    """`FluxKontextPipeline`."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "b": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    torch.manual_seed(0)
    pipeline = FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(
            channels=(4,),
            norm_num_groups=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.06,
            scaling_factor=1.5,
        ),
        text_encoder=_clip(),
        tokenizer=_clip_tokenizer(folder),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=8, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)),
        tokenizer_2=PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **special),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    return _saved(pipeline, folder / "tiny-kontext")


def save_qwen_edit(folder: Path, name: str) -> str:
    """`QwenImageEditPipeline` or `QwenImageEditPlusPipeline`, with a tokenizer where the processor belongs: see `QwenProcessor`."""
    import diffusers
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = QwenProcessor().tokenizer
    ids = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    pipeline = getattr(diffusers, name)(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        processor=tokenizer,
        transformer=diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    )
    return _saved(pipeline, folder / name)


class QwenProcessor:
    """Does what `Qwen2VLProcessor` does with texts and pictures; that one also reads videos, for which it needs torchvision."""

    def __init__(self) -> None:
        from tokenizers import pre_tokenizers
        from transformers import Qwen2Tokenizer
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        self.tokenizer: Any = Qwen2Tokenizer(
            vocab=letters,
            merges=[],
            unk_token="<|endoftext|>",
            additional_special_tokens=[
                f"<|{name}|>" for name in ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
            ],
        )
        self.pictures: Any = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56)

    def __call__(self, text: list[str], images: Any, padding: bool, return_tensors: str) -> Any:
        from transformers import BatchFeature

        seen = self.pictures(images=images, return_tensors=return_tensors)
        counts = iter(int(grid.prod()) // self.pictures.merge_size**2 for grid in seen["image_grid_thw"])
        filled = []
        for line in text:
            first, *others = line.split("<|image_pad|>")
            filled.append(first + "".join("<|image_pad|>" * next(counts) + other for other in others))
        return BatchFeature({**self.tokenizer(filled, padding=padding, return_tensors=return_tensors), **seen})


def _saved(pipeline: Any, folder: Path) -> str:
    pipeline.save_pretrained(folder)
    return str(folder)


def _clip_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", "a", "b", "a</w>", "b</w>", "ab</w>"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def _clip() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=16,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def _unet(in_channels: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=8,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )


def _vae(channels: tuple[int, ...], norm_num_groups: int = 4, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        norm_num_groups=norm_num_groups,
        latent_channels=4,
        **more,
    )
