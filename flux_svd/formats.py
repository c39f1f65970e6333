"""The kinds of files a film can be exported to: which encoder makes them, with which options, and what they can hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """One kind of export.

    Attributes:
        encoders: of ffmpeg, the first it has is used.
        options: for that encoder; "{crf}" stands for the constant rate factor.
        crf: (default, largest), or None where quality is not chosen by one.
        audio: encoder of the sound, or "" where the file can hold none.
        max_fps: GIF counts hundredths of a second, and players slow down anything under two.
        raw_share: how large it is beside its frames at three bytes a pixel; 0 where it is about as large as the film itself.
    """

    suffix: str
    encoders: tuple[str, ...]
    options: tuple[str, ...]
    crf: tuple[int, int] | None = None
    audio: str = ""
    max_fps: int = 60
    repeats: bool = False
    raw_share: float = 0.0


_BT709 = (  # say what the numbers are, as players assume for video
    "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
)  # fmt: skip
_YUV = "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic"
FORMATS: dict[str, Format] = {
    "mp4": Format(".mp4", ("libx264",), ("-vf", _YUV, "-pix_fmt", "yuv420p", "-crf", "{crf}", "-preset", "medium", *_BT709,
                                         "-movflags", "+faststart"), (18, 51), "aac"),
    "webm": Format(".webm", ("libvpx-vp9",), ("-vf", _YUV, "-pix_fmt", "yuv420p", "-crf", "{crf}", "-b:v", "0", "-cpu-used", "2",
                                              *_BT709), (24, 63), "libopus"),
    "av1": Format(".webm", ("libsvtav1", "libaom-av1"), ("-vf", _YUV, "-pix_fmt", "yuv420p", "-crf", "{crf}", *_BT709), (28, 63),
                  "libopus"),
    "gif": Format(".gif", ("gif",), ("-vf", "split[a][b];[a]palettegen=stats_mode=diff[p];[b][p]paletteuse=dither=sierra2_4a",
                                     "-loop", "0"), max_fps=50, repeats=True),
    "webp": Format(".webp", ("libwebp_anim",), ("-pix_fmt", "yuv420p", "-q:v", "85", "-loop", "0"), repeats=True),
    "png": Format("", (), (), raw_share=1.0),
    "prores": Format(".mov", ("prores_ks",), ("-vf", _YUV, "-pix_fmt", "yuv422p10le", "-profile:v", "3", *_BT709),
                     audio="pcm_s16le", raw_share=0.15),  # 220 Mbit/s at 1920 × 1080, 30 fps: Apple ProRes White Paper, 2022
}
