"""Every text of the page: English, then Spanish, French, German and Chinese. Data only."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str, str, str]] = {
    # The page that asks for a password.
    "Name": ("Nombre", "Nom", "Name", "用户名"),
    "Password": ("Contraseña", "Mot de passe", "Passwort", "密码"),
    "Log in": ("Entrar", "Se connecter", "Anmelden", "登录"),
    "Name or password is wrong.": (
        "El nombre o la contraseña no es correcto.", "Nom ou mot de passe incorrect.", "Name oder Passwort ist falsch.",
        "用户名或密码错误。",
    ),
    "Too many attempts. Try again in {n} s.": (
        "Demasiados intentos. Vuelva a probar en {n} s.", "Trop d’essais. Réessayez dans {n} s.",
        "Zu viele Versuche. In {n} s noch einmal.", "尝试次数过多。请在 {n} 秒后重试。",
    ),
}  # fmt: skip
