"""Every text of the page: English, then Spanish, French, German and Chinese. Data only.

What stands in braces is filled in; a text in which only that would differ appears once.
"""

from __future__ import annotations

from flux_svd.web.plan_texts import PLAN_TEXTS

TEXTS: dict[str, tuple[str, str, str, str]] = {
    # The page that asks for a password.
    "Name": ("Nombre", "Nom", "Name", "用户名"),
    "Password": ("Contraseña", "Mot de passe", "Passwort", "密码"),
    "Log in": ("Entrar", "Se connecter", "Anmelden", "登录"),
    "Log out": ("Salir", "Se déconnecter", "Abmelden", "退出登录"),
    "Name or password is wrong.": (
        "El nombre o la contraseña no es correcto.", "Nom ou mot de passe incorrect.", "Name oder Passwort ist falsch.",
        "用户名或密码错误。",
    ),
    "Too many attempts. Try again in {n} s.": (
        "Demasiados intentos. Vuelva a probar en {n} s.", "Trop d’essais. Réessayez dans {n} s.",
        "Zu viele Versuche. In {n} s noch einmal.", "尝试次数过多。请在 {n} 秒后重试。",
    ),
    # Names that Gradio gives in English.
    "Click to upload or drop files": (
        "Haga clic o suelte archivos", "Cliquez ou déposez des fichiers", "Klicken oder Dateien ablegen", "点击上传或拖入文件",
    ),
    "File upload": ("Subir un archivo", "Envoi d’un fichier", "Datei hochladen", "上传文件"),
    # The bar.
    "Create": ("Crear", "Créer", "Bild", "创作"),
    "Video": ("Vídeo", "Vidéo", "Film", "视频"),
    "Library": ("Biblioteca", "Bibliothèque", "Bibliothek", "作品库"),
    "Models": ("Modelos", "Modèles", "Modelle", "模型"),
    "warm": ("cargado", "chargé", "geladen", "已加载"),
    "not loaded yet": ("sin cargar", "pas encore chargé", "noch nicht geladen", "尚未加载"),
    "does not fit now": ("no cabe ahora", "ne tient pas pour l’instant", "passt jetzt nicht", "目前放不下"),
    "Queue": ("Cola", "File d’attente", "Warteschlange", "队列"),
    "idle": ("en reposo", "au repos", "frei", "空闲"),
    "1 at work": ("1 en marcha", "1 en cours", "1 in Arbeit", "1 个进行中"),
    "{n} in queue": ("{n} en cola", "{n} en attente", "{n} in der Schlange", "{n} 个排队"),
    # The queue.
    "is being stopped": ("se está parando", "s’arrête", "wird angehalten", "正在停止"),
    "paused": ("en pausa", "en pause", "ruht", "已暂停"),
    "Running": ("En marcha", "En cours", "Läuft", "进行中"),
    "Paused": ("En pausa", "En pause", "Ruht", "已暂停"),
    "Set apart": ("Apartado", "Mis de côté", "Zurückgestellt", "已搁置"),
    "Move up": ("Adelantar", "Avancer", "Vorziehen", "提前"),
    "Resume": ("Reanudar", "Reprendre", "Fortsetzen", "继续"),
    "Retry": ("Reintentar", "Réessayer", "Noch einmal", "重试"),
    "No jobs yet.": ("Aún no hay trabajos.", "Pas encore de travaux.", "Noch keine Aufträge.", "还没有任务。"),
    "Change the settings and start again; what was finished is kept.": (
        "Cambie los ajustes y empiece de nuevo; lo terminado se conserva.",
        "Changez les réglages et recommencez ; ce qui est fini est gardé.",
        "Einstellungen ändern und neu beginnen; Fertiges bleibt.", "请更改设置后重新开始；已完成的部分会保留。",
    ),
    "Retry it once more; if that fails too, the program's log says where.": (
        "Reinténtelo; si vuelve a fallar, el registro del programa dice dónde.",
        "Réessayez ; si cela échoue encore, le journal du programme dit où.",
        "Noch einmal versuchen; scheitert auch das, sagt das Protokoll des Programms, wo.",
        "请再试一次；如果仍然失败，程序日志会说明原因。",
    ),
    "Resume it when that is mended.": (
        "Reanúdelo cuando esté arreglado.", "Reprenez quand c’est réparé.", "Fortsetzen, wenn das behoben ist.", "问题解决后继续。",
    ),
    "Retry it; what was finished is kept.": (
        "Reinténtelo; lo terminado se conserva.", "Réessayez ; ce qui est fini est gardé.", "Noch einmal versuchen; Fertiges bleibt.",
        "请重试；已完成的部分会保留。",
    ),
    "Cancel": ("Cancelar", "Annuler", "Abbrechen", "取消"),
    # Create.
    "Prompt": ("Descripción", "Description", "Beschreibung", "提示词"),
    "Generate": ("Generar", "Générer", "Erzeugen", "生成"),
    "Stop": ("Parar", "Arrêter", "Stopp", "停止"),
    "Shape": ("Formato", "Format", "Format", "画幅"),
    "Pictures": ("Imágenes", "Images", "Bilder", "图片"),
    "References": ("Referencias", "Références", "Vorlagen", "参考图"),
    "Settings": ("Ajustes", "Réglages", "Einstellungen", "设置"),
    "Other models": ("Otros modelos", "Autres modèles", "Andere Modelle", "其他模型"),
    "What will happen": ("Qué va a pasar", "Ce qui va se passer", "Was geschehen wird", "执行计划"),
    "Model": ("Modelo", "Modèle", "Modell", "模型"),
    "Best here: {name}": ("El mejor aquí: {name}", "Le meilleur ici : {name}", "Das beste hier: {name}", "此处最佳：{name}"),
    "Seed": ("Semilla", "Graine", "Startwert", "种子"),
    "drawn at random": ("al azar", "tirée au hasard", "zufällig", "随机"),
    "New seed each time": ("Semilla nueva cada vez", "Nouvelle graine à chaque fois", "Jedes Mal neuer Startwert", "每次使用新种子"),
    "New seed": ("Semilla nueva", "Nouvelle graine", "Neuer Startwert", "新种子"),
    "Steps": ("Pasos", "Étapes", "Schritte", "步数"),
    "Guidance": ("Fidelidad", "Guidage", "Textnähe", "引导强度"),
    "Negative prompt": ("Qué evitar", "À éviter", "Was fehlen soll", "反向提示词"),
    "what to avoid": ("lo que no debe salir", "ce qui ne doit pas apparaître", "was nicht vorkommen soll", "不希望出现的内容"),
    "Quality, and what it takes here": (
        "Calidad, y lo que cuesta aquí", "Qualité, et ce qu’elle coûte ici", "Qualität, und was sie hier braucht", "质量及其在本机的开销",
    ),
    "not timed yet": ("sin medir", "pas mesurée", "noch offen", "尚未计时"),
    "at once": ("al momento", "aussitôt", "sofort", "立即"),
    "{n} steps": ("{n} pasos", "{n} étapes", "{n} Schritte", "{n} 步"),
    "Draft": ("Borrador", "Brouillon", "Entwurf", "草稿"),
    "Balanced": ("Equilibrada", "Équilibrée", "Ausgewogen", "均衡"),
    "Best": ("Máxima", "Maximale", "Beste", "最佳"),
    "Style": ("Estilo", "Style", "Stil", "风格"),
    "None": ("Ninguno", "Aucun", "Keiner", "无"),
    "Lock": ("Bloquear", "Verrouiller", "Sperren", "锁定"),
    "Settings of a picture or film made here": (
        "Ajustes de una imagen o película hecha aquí", "Réglages d’une image ou d’un film faits ici",
        "Einstellungen eines hier gemachten Bildes oder Films", "读取本程序所作图片或影片的设置",
    ),
    "Drop a file, or click to choose one": (
        "Suelte un archivo o haga clic para elegirlo", "Déposez un fichier ou cliquez pour en choisir un",
        "Datei hier ablegen oder zum Wählen klicken", "拖入文件，或点击选择",
    ),
    "Its settings are back.": (
        "Sus ajustes han vuelto.", "Ses réglages sont revenus.", "Seine Einstellungen sind wieder da.", "已恢复其设置。",
    ),
    "{name} is not ready on this machine; the best here takes its place.": (
        "{name} no está listo en este equipo; lo sustituye el mejor de aquí.",
        "{name} n’est pas prêt sur cette machine ; le meilleur ici le remplace.",
        "{name} ist auf diesem Gerät nicht bereit; das beste hier tritt an seine Stelle.", "{name} 在本机不可用；改用此处最佳模型。",
    ),
    "References that are not on this machine: {n}.": (
        "Referencias que no están en este equipo: {n}.", "Références absentes de cette machine : {n}.",
        "Vorlagen, die nicht auf diesem Gerät sind: {n}.", "不在本机的参考图：{n}。",
    ),
    "The picture it began at is not on this machine.": (
        "La imagen de la que partió no está en este equipo.", "L’image de départ n’est pas sur cette machine.",
        "Das Bild, bei dem es begann, ist nicht auf diesem Gerät.", "起始图片不在本机。",
    ),
    "Remove: {what}": ("Quitar: {what}", "Retirer : {what}", "Entfernen: {what}", "移除：{what}"),
    "Near the picture of this seed": (
        "Cerca de la imagen de esta semilla", "Proche de l’image de cette graine", "Nahe am Bild dieses Startwerts", "接近此种子的图片",
    ),
    "Begins at a picture": ("Parte de una imagen", "Part d’une image", "Beginnt bei einem Bild", "从一张图片开始"),
    "How much of it may change": ("Cuánto puede cambiar", "Part qui peut changer", "Wie viel sich ändern darf", "可改变的程度"),
    "Best of so many": ("La mejor de tantas", "La meilleure d’autant", "Das beste von so vielen", "从多少张中选最佳"),
    "Guidance from first step to last": (
        "Fidelidad del primer paso al último", "Guidage de la première à la dernière étape", "Textnähe vom ersten Schritt zum letzten",
        "从第一步到最后一步的引导强度",
    ),
    "Real guidance": ("Guía real", "Guidage réel", "Echte Führung", "真实引导"),
    "Skip blocks that change little": (
        "Omitir bloques que cambian poco", "Sauter les blocs qui changent peu", "Blöcke auslassen, die wenig ändern", "跳过变化很小的块",
    ),
    "Attention": ("Atención", "Attention", "Attention-Verfahren", "注意力"),
    "Compiled": ("Compilado", "Compilé", "Übersetzt", "已编译"),
    "May use tiles or fewer bits when memory runs out": (
        "Puede usar teselas o menos bits si falta memoria", "Peut découper ou prendre moins de bits si la mémoire manque",
        "Darf kacheln oder weniger Bits nehmen, wenn Speicher fehlt", "内存不足时可分块或用更少的位数",
    ),
    "Own transformer": (
        "Transformer propio", "Transformer personnel", "Eigener Transformer", "自备的 Transformer",
    ),
    "Own text encoder": (
        "Codificador de texto propio", "Encodeur de texte personnel", "Eigener Text-Encoder", "自备的文本编码器",
    ),
    "Drop or paste pictures, or click to choose them": (
        "Suelte o pegue imágenes, o haga clic para elegirlas", "Déposez ou collez des images, ou cliquez pour les choisir",
        "Bilder ablegen, einfügen oder zum Wählen klicken", "拖入或粘贴图片，或点击选择",
    ),
    "Say what changes; the rest stays. For example:": (
        "Diga qué cambia; lo demás queda. Por ejemplo:", "Dites ce qui change ; le reste demeure. Par exemple :",
        "Sagen Sie, was sich ändert; der Rest bleibt. Zum Beispiel:", "请说明要改变什么，其余保持不变。例如：",
    ),
    "Reference pictures": ("Imágenes de referencia", "Images de référence", "Vorlagen", "参考图片"),
    "Reference {n}": ("Referencia {n}", "Référence {n}", "Vorlage {n}", "参考图 {n}"),
    "Remove reference {n}": ("Quitar la referencia {n}", "Retirer la référence {n}", "Vorlage {n} entfernen", "移除参考图 {n}"),
    "At most {n} pictures.": ("Como mucho {n} imágenes.", "{n} images au plus.", "Höchstens {n} Bilder.", "最多 {n} 张图片。"),
    "Not a usable picture. Allowed: {what}.": (
        "No es una imagen utilizable. Se admite: {what}.", "Image inutilisable. Sont admis : {what}.",
        "Kein brauchbares Bild. Erlaubt: {what}.", "图片不可用。允许：{what}。",
    ),
    "This reads like a film (": (
        "Esto parece una película (", "Cela ressemble à un film (", "Das klingt nach einem Film (", "这像是一段影片（",
    ),
    ").": (").", ").", ").", "）。"),
    "Make a film instead": ("Hacer una película", "Faire plutôt un film", "Lieber einen Film machen", "改为制作影片"),
    "The pocket model does not know and ignores:": (
        "El modelo de bolsillo no conoce e ignora:", "Le modèle de poche ignore :", "Das Taschenmodell kennt nicht und übergeht:",
        "口袋模型不认识并忽略：",
    ),
    "Your picture, {w} × {h},": ("Su imagen, {w} × {h},", "Votre image, {w} × {h},", "Ihr Bild, {w} × {h},", "您的图片（{w} × {h}）"),
    "appears here after Generate": (
        "aparecerá aquí tras Generar", "apparaîtra ici après Générer", "erscheint hier nach „Erzeugen“", "点击“生成”后显示在此",
    ),
    "Your film, {w} × {h},": ("Su película, {w} × {h},", "Votre film, {w} × {h},", "Ihr Film, {w} × {h},", "您的影片（{w} × {h}）"),
    "was made before: Animate shows it": (
        "ya se hizo: Animar la muestra", "est déjà fait : Animer le montre", "wurde schon gemacht: „Animieren“ zeigt ihn",
        "已经生成过：点击“生成动画”即可显示",
    ),
    "The film before these changes": (
        "La película antes de estos cambios", "Le film avant ces changements", "Der Film vor diesen Änderungen", "这些更改之前的影片",
    ),
    "appears here after Animate": (
        "aparecerá aquí tras Animar", "apparaîtra ici après Animer", "erscheint hier nach „Animieren“", "点击“生成动画”后显示在此",
    ),
    "Vary": ("Variar", "Varier", "Variieren", "变体"),
    "Slightly": ("Un poco", "Un peu", "Ein wenig", "略微"),
    "Widely": ("Mucho", "Beaucoup", "Stark", "大幅"),
    "Enlarge": ("Ampliar", "Agrandir", "Vergrößern", "放大"),
    "Enlarging": ("Ampliando", "Agrandissement", "Vergrößert", "正在放大"),
    "enlarged by interpolation": (
        "ampliada por interpolación", "agrandie par interpolation", "durch Interpolation vergrößert", "经插值放大",
    ),
    "Before it was enlarged": ("Antes de ampliarla", "Avant agrandissement", "Vor dem Vergrößern", "放大之前"),
    "More": ("Más", "Plus", "Mehr", "更多"),
    "Compare with: {what}": ("Comparar con: {what}", "Comparer avec : {what}", "Vergleichen mit: {what}", "对比：{what}"),
    "Picture {n}": ("Imagen {n}", "Image {n}", "Bild {n}", "图片 {n}"),
    "Earlier": ("Antes", "Avant", "Früher", "之前"),
    "left: {what}": ("a la izquierda: {what}", "à gauche : {what}", "links: {what}", "左侧：{what}"),
    "Reuse seed": ("Usar la semilla", "Reprendre la graine", "Startwert behalten", "沿用种子"),
    "Copy": ("Copiar", "Copier", "Kopieren:", "复制"),
    "settings": ("ajustes", "les réglages", "Einstellungen", "设置"),
    "Copy settings": ("Copiar ajustes", "Copier les réglages", "Einstellungen kopieren", "复制设置"),
    "Copied": ("Copiado", "Copié", "Kopiert", "已复制"),
    "Download": ("Descargar", "Télécharger", "Laden", "下载"),
    "Send to Video": ("Llevar a Vídeo", "Envoyer vers Vidéo", "Weiter zu Film", "发送到视频"),
    "To Video": ("A Vídeo", "Vers Vidéo", "Zu Film", "转到视频"),
    "Picture {n} of {m}": ("Imagen {n} de {m}", "Image {n} sur {m}", "Bild {n} von {m}", "第 {n} 张，共 {m} 张"),
    "Picture {n} of {m}, {score}": (
        "Imagen {n} de {m}, {score}", "Image {n} sur {m}, {score}", "Bild {n} von {m}, {score}", "第 {n} 张，共 {m} 张，{score}",
    ),
    "no score": ("sin nota", "sans note", "ohne Wert", "无评分"),
    "Preview: {what}": ("Vista previa: {what}", "Aperçu : {what}", "Vorschau: {what}", "预览：{what}"),
    # How work stands.
    "Ready": ("Listo", "Prêt", "Bereit", "就绪"),
    "an example is filled in": ("hay un ejemplo escrito", "un exemple est déjà saisi", "ein Beispiel steht schon da", "已填入示例"),
    "Starting": ("Empezando", "Démarrage", "Beginnt", "正在开始"),
    "Waiting": ("En espera", "En attente", "Wartet", "等待中"),
    "Working": ("Trabajando", "Travail en cours", "In Arbeit", "正在处理"),
    "{n} ahead of you": ("{n} antes que usted", "{n} avant vous", "{n} vor Ihnen", "前面还有 {n} 个"),
    "next in line": ("el siguiente", "prochain", "als Nächstes dran", "下一个就是您"),
    "the worker is starting": ("el proceso arranca", "le processus démarre", "das Rechenprogramm startet", "工作进程正在启动"),
    "the queue is paused": ("la cola está en pausa", "la file est en pause", "die Schlange ist angehalten", "队列已暂停"),
    "Loading the model": ("Cargando el modelo", "Chargement du modèle", "Lädt das Modell", "正在加载模型"),
    "Drawing": ("Dibujando", "Dessin en cours", "Zeichnet", "正在绘制"),
    "Animating": ("Animando", "Animation en cours", "Animiert", "正在生成动画"),
    "Decoding": ("Descodificando", "Décodage", "Entschlüsselt", "正在解码"),
    "Writing the film": ("Escribiendo la película", "Écriture du film", "Schreibt den Film", "正在写入影片"),
    "Scoring": ("Puntuando", "Évaluation", "Bewertet", "正在评分"),
    "Saving": ("Guardando", "Enregistrement", "Speichert", "正在保存"),
    "Step {n} of {m}": ("Paso {n} de {m}", "Étape {n} sur {m}", "Schritt {n} von {m}", "第 {n} 步，共 {m} 步"),
    "Decoding frame {n} of {m}": (
        "Decodificando el fotograma {n} de {m}", "Décodage de l’image {n} sur {m}", "Dekodiert Bild {n} von {m}", "正在解码第 {n} 帧，共 {m} 帧",
    ),
    "at step {n} of {m}": ("en el paso {n} de {m}", "à l’étape {n} sur {m}", "bei Schritt {n} von {m}", "停在第 {n} 步，共 {m} 步"),
    "{t} left": ("quedan {t}", "encore {t}", "noch {t}", "还需 {t}"),
    "picture {n} of {m}": ("imagen {n} de {m}", "image {n} sur {m}", "Bild {n} von {m}", "图片 {n}/{m}"),
    "keyframe {n} of {m}": ("fotograma clave {n} de {m}", "image clé {n} sur {m}", "Schlüsselbild {n} von {m}", "关键帧 {n}/{m}"),
    "transition {n} of {m}": ("transición {n} de {m}", "transition {n} sur {m}", "Übergang {n} von {m}", "过渡 {n}/{m}"),
    "Progress": ("Progreso", "Avancement", "Fortschritt", "进度"),
    "Done": ("Listo", "Terminé", "Fertig", "完成"),
    "Done in {t} s": ("Listo en {t} s", "Terminé en {t} s", "Fertig in {t} s", "用时 {t} 秒完成"),
    "Done at once: it was made before": (
        "Listo al momento: ya estaba hecho", "Terminé aussitôt : déjà fait", "Sofort fertig: war schon gemacht", "立即完成：此前已生成",
    ),
    "Stopped": ("Parado", "Arrêté", "Angehalten", "已停止"),
    "finished parts are kept": (
        "lo terminado se conserva", "les parties finies sont gardées", "Fertiges bleibt erhalten", "已完成的部分会保留",
    ),
    "nothing has changed": ("nada ha cambiado", "rien n’a changé", "nichts hat sich geändert", "没有任何改变"),
    "Failed": ("Ha fallado", "Échec", "Gescheitert", "失败"),
    "Not started": ("No ha empezado", "Pas commencé", "Nicht begonnen", "未开始"),
    "Not found": ("No encontrado", "Introuvable", "Nicht gefunden", "未找到"),
    "the reason stands under the prompt": (
        "el motivo está bajo la descripción", "la raison est sous la description", "der Grund steht unter der Beschreibung",
        "原因见提示词下方",
    ),
    "by a mistake in the program; its log says which": (
        "por un error del programa; su registro dice cuál", "par une erreur du programme ; son journal dit laquelle",
        "durch einen Fehler im Programm; sein Protokoll sagt, welchen", "程序出错；详情见日志",
    ),
    "Write what you want to see.": (
        "Escriba lo que quiere ver.", "Écrivez ce que vous voulez voir.", "Schreiben Sie, was Sie sehen möchten.", "请写下您想看到的内容。",
    ),
    "is not accepted. Allowed: {what}.": (
        "no se admite. Permitido: {what}.", "n’est pas accepté. Permis : {what}.", "geht nicht. Erlaubt: {what}.", "不被接受。允许：{what}。",
    ),
    "About {t}, {x} of memory.": ("Unos {t}, {x} de memoria.", "Environ {t}, {x} de mémoire.", "Etwa {t}, {x} Speicher.", "约 {t}，内存 {x}。"),
    "At once, {x} of memory.": ("Al momento, {x} de memoria.", "Aussitôt, {x} de mémoire.", "Sofort, {x} Speicher.", "立即，内存 {x}。"),
    "Time known after the first run, {x} of memory.": (
        "El tiempo se sabrá tras la primera vez; {x} de memoria.", "Durée connue après la première fois ; {x} de mémoire.",
        "Dauer nach dem ersten Mal bekannt; {x} Speicher.", "首次运行后可知用时；内存 {x}。",
    ),
    "About {t}, {m} of {n} GiB.": (
        "Unos {t}, {m} de {n} GiB.", "Environ {t}, {m} sur {n} Gio.", "Etwa {t}, {m} von {n} GiB.", "约 {t}，{m}/{n} GiB。",
    ),
    "At once, {m} of {n} GiB.": (
        "Al momento, {m} de {n} GiB.", "Aussitôt, {m} sur {n} Gio.", "Sofort, {m} von {n} GiB.", "立即，{m}/{n} GiB。",
    ),
    "Time known after the first run, {m} of {n} GiB.": (
        "El tiempo se sabrá tras la primera vez; {m} de {n} GiB.", "Durée connue après la première fois ; {m} sur {n} Gio.",
        "Dauer nach dem ersten Mal bekannt; {m} von {n} GiB.", "首次运行后可知用时；{m}/{n} GiB。",
    ),
    "Ctrl+Enter starts, Esc stops.": (
        "Ctrl+Intro empieza, Esc para.", "Ctrl+Entrée lance, Échap arrête.", "Strg+Enter startet, Esc hält an.",
        "Ctrl+Enter 开始，Esc 停止。",
    ),
    "Keep this page open while it works: here the work ends with the page.": (
        "Deje abierta esta página mientras trabaja: aquí el trabajo acaba con ella.",
        "Gardez cette page ouverte : ici le travail s’arrête avec elle.",
        "Lassen Sie diese Seite offen: hier endet die Arbeit mit ihr.", "运行期间请勿关闭页面：在这里，任务随页面结束。",
    ),
    "made by a pocket model": (
        "hecha por un modelo de bolsillo", "faite par un modèle de poche", "von einem Taschenmodell", "由口袋模型生成",
    ),
    "made by pocket models": ("hecho por modelos de bolsillo", "fait par des modèles de poche", "von Taschenmodellen", "由口袋模型生成"),
    "Match {v}": ("Acierto {v}", "Accord {v}", "Treffer {v}", "匹配度 {v}"),
    "mean of all frames": ("media de todos los fotogramas", "moyenne de toutes les images", "Mittel aller Bilder", "所有帧的平均"),
    "Match {v}, {word}": ("Acierto {v}, {word}", "Accord {v}, {word}", "Treffer {v}, {word}", "匹配度 {v}，{word}"),
    "excellent": ("excelente", "excellent", "ausgezeichnet", "极佳"),
    "good": ("bueno", "bon", "gut", "良好"),
    "acceptable": ("aceptable", "acceptable", "annehmbar", "尚可"),
    "seed {n}": ("semilla {n}", "graine {n}", "Startwert {n}", "种子 {n}"),
    "about {t}": ("unos {t}", "environ {t}", "etwa {t}", "约 {t}"),
    # Video.
    "Film: {what}": ("Película: {what}", "Film : {what}", "Film: {what}", "影片：{what}"),
    "{name}:": ("{name}:", "{name} :", "{name}:", "{name}："),
    "Film": ("Película", "Film", "Film", "影片"),
    "Keyframes, with length": (
        "Fotogramas clave, con duración", "Images clés, avec durée", "Schlüsselbilder, mit Länge", "关键帧数（含时长）",
    ),
    "Plan": ("Planear", "Planifier", "Planen", "规划"),
    "Keyframes": ("Fotogramas clave", "Images clés", "Schlüsselbilder", "关键帧"),
    "Animate": ("Animar", "Animer", "Animieren", "生成动画"),
    "Model of the keyframes": ("Modelo de los fotogramas clave", "Modèle des images clés", "Modell der Schlüsselbilder", "关键帧模型"),
    "Video model": ("Modelo de vídeo", "Modèle vidéo", "Filmmodell", "视频模型"),
    "Frames a transition": ("Fotogramas por transición", "Images par transition", "Bilder je Übergang", "每段过渡帧数"),
    "Frames a second": ("Fotogramas por segundo", "Images par seconde", "Bilder je Sekunde", "每秒帧数"),
    "Stages": ("Escenas", "Scènes", "Szenen", "阶段"),
    "Undo": ("Deshacer", "Annuler l’action", "Rückgängig", "撤销"),
    "Undo brings back what was there": (
        "Deshacer trae lo que había", "« Annuler l’action » ramène ce qui était là", "„Rückgängig“ holt zurück, was da war",
        "点击“撤销”可恢复原来的内容",
    ),
    "Stages written anew": ("Escenas escritas de nuevo", "Scènes réécrites", "Szenen neu geschrieben", "阶段已重写"),
    "Opening the job": ("Abriendo el trabajo", "Ouverture du travail", "Öffnet den Auftrag", "正在打开任务"),
    "This job is not here": (
        "Este trabajo no está aquí", "Ce travail n’est pas ici", "Dieser Auftrag ist nicht hier", "此处没有这个任务",
    ),
    "the queue shows those that are": (
        "la cola muestra los que hay", "la file montre ceux qui y sont", "die Warteschlange zeigt die vorhandenen", "队列会显示现有的任务",
    ),
    "Picture put into stage {n}": (
        "Imagen puesta en la escena {n}", "Image mise dans la scène {n}", "Bild in Szene {n} gesetzt", "图片已放入阶段 {n}",
    ),
    "No stage is free": ("No hay escena libre", "Aucune scène n’est libre", "Keine Szene ist frei", "没有空闲的阶段"),
    "remove one, or the picture on one": (
        "quite una, o la imagen de una", "retirez-en une, ou l’image de l’une", "eine entfernen, oder das Bild einer Szene",
        "请移除一个阶段或其图片",
    ),
    "Add stage": ("Añadir escena", "Ajouter une scène", "Szene anfügen", "添加阶段"),
    "Stage {n} prompt": (
        "Descripción de la escena {n}", "Description de la scène {n}", "Beschreibung der Szene {n}", "阶段 {n} 提示词",
    ),
    "Stage {n}": ("Escena {n}", "Scène {n}", "Szene {n}", "阶段 {n}"),
    "Move stage {n} left": (
        "Mover la escena {n} a la izquierda", "Déplacer la scène {n} à gauche", "Szene {n} nach links", "将阶段 {n} 左移",
    ),
    "Move stage {n} right": (
        "Mover la escena {n} a la derecha", "Déplacer la scène {n} à droite", "Szene {n} nach rechts", "将阶段 {n} 右移",
    ),
    "Remove stage {n}": ("Quitar la escena {n}", "Retirer la scène {n}", "Szene {n} entfernen", "移除阶段 {n}"),
    "Redo stage {n}": ("Rehacer la escena {n}", "Refaire la scène {n}", "Szene {n} neu", "重做阶段 {n}"),
    "Use a picture of yours for stage {n}": (
        "Usar una imagen suya en la escena {n}", "Utiliser une de vos images pour la scène {n}", "Eigenes Bild für Szene {n} nehmen",
        "为阶段 {n} 使用自己的图片",
    ),
    "Draw stage {n} instead of your picture": (
        "Dibujar la escena {n} en lugar de su imagen", "Dessiner la scène {n} au lieu de votre image",
        "Szene {n} zeichnen statt des eigenen Bildes", "绘制阶段 {n}，不用自己的图片",
    ),
    "Your picture": ("Su imagen", "Votre image", "Ihr Bild", "您的图片"),
    "Seed of stage {n}": ("Semilla de la escena {n}", "Graine de la scène {n}", "Startwert der Szene {n}", "阶段 {n} 的种子"),
    "Redo": ("Rehacer", "Refaire", "Neu", "重做"),
    "as the film": ("la de la película", "celle du film", "wie der Film", "与影片相同"),
    "Not drawn yet": ("Sin dibujar", "Pas encore dessinée", "Noch nicht gezeichnet", "尚未绘制"),
    "Left": ("Izquierda", "Gauche", "Links", "左"),
    "Right": ("Derecha", "Droite", "Rechts", "右"),
    "Center": ("Centro", "Centre", "Mitte", "中"),
    "Top": ("Arriba", "Haut", "Oben", "上"),
    "Bottom": ("Abajo", "Bas", "Unten", "下"),
    "Top left": ("Arriba a la izquierda", "En haut à gauche", "Oben links", "左上"),
    "Top right": ("Arriba a la derecha", "En haut à droite", "Oben rechts", "右上"),
    "Bottom left": ("Abajo a la izquierda", "En bas à gauche", "Unten links", "左下"),
    "Bottom right": ("Abajo a la derecha", "En bas à droite", "Unten rechts", "右下"),
    "Between the {a} and the {b}": ("Entre {a} y {b}", "Entre {a} et {b}", "Zwischen {a} und {b}", "{a}与{b}之间"),
    "Between the {a} and the {b}, nearer to the {c}": (
        "Entre {a} y {b}, más cerca de {c}", "Entre {a} et {b}, plus près de {c}", "Zwischen {a} und {b}, näher bei {c}",
        "{a}与{b}之间，靠近{c}",
    ),
    "left": ("izquierda", "gauche", "links", "左"),
    "right": ("derecha", "droite", "rechts", "右"),
    "center": ("centro", "centre", "Mitte", "中"),
    "top": ("arriba", "haut", "oben", "上"),
    "bottom": ("abajo", "bas", "unten", "下"),
    "top left": ("arriba a la izquierda", "haut gauche", "oben links", "左上"),
    "top right": ("arriba a la derecha", "haut droite", "oben rechts", "右上"),
    "bottom left": ("abajo a la izquierda", "bas gauche", "unten links", "左下"),
    "bottom right": ("abajo a la derecha", "bas droite", "unten rechts", "右下"),
    "In the first moment": ("En el primer momento", "Au premier instant", "Im ersten Moment", "最初一刻"),
    "A little later": ("Un poco después", "Un peu plus tard", "Etwas später", "稍后"),
    "In the middle of the scene": ("En mitad de la escena", "Au milieu de la scène", "Mitten in der Szene", "场景中间"),
    "Near the end": ("Cerca del final", "Vers la fin", "Gegen Ende", "临近结尾"),
    "In the last moment": ("En el último momento", "Au dernier instant", "Im letzten Moment", "最后一刻"),
    "Film strip": ("Tira de película", "Pellicule", "Filmstreifen", "胶片条"),
    "Transition {n} to {m}": ("Transición {n} a {m}", "Transition {n} à {m}", "Übergang {n} zu {m}", "过渡 {n} 至 {m}"),
    "Keyframe {n}": ("Fotograma clave {n}", "Image clé {n}", "Schlüsselbild {n}", "关键帧 {n}"),
    "Keyframes ready": ("Fotogramas clave listos", "Images clés prêtes", "Schlüsselbilder fertig", "关键帧已就绪"),
    "each is cheap to redo; Animate makes the film": (
        "rehacer cada uno cuesta poco; Animar hace la película", "chacune se refait vite ; Animer fait le film",
        "jedes ist schnell neu gemacht; „Animieren“ macht den Film", "每个都可轻松重做；点击“生成动画”制作影片",
    ),
    "{n} of {m} transitions done": (
        "{n} de {m} transiciones listas", "{n} transitions sur {m} terminées", "{n} von {m} Übergängen fertig", "过渡已完成 {n}/{m}",
    ),
    "{n} frames": ("{n} fotogramas", "{n} images", "{n} Bilder", "{n} 帧"),
    "Frame": ("Fotograma", "Image", "Bild", "帧"),
    "of {n}": ("de {n}", "sur {n}", "von {n}", "/ {n}"),
    "Play": ("Reproducir", "Lire", "Abspielen", "播放"),
    "Pause": ("Pausa", "Pause", "Pause", "暂停"),
    "Full screen": ("Pantalla completa", "Plein écran", "Vollbild", "全屏"),
    "Size": ("Tamaño", "Taille", "Größe", "尺寸"),
    "Precision": ("Precisión", "Précision", "Genauigkeit", "精度"),
    "Scorer": ("Puntuador", "Évaluateur", "Bewertung", "评分模型"),
    # How frames are filled, what a card can do, and what is told of a finished film.
    "How frames are filled": (
        "Cómo se rellenan los fotogramas", "Comment les images sont remplies", "Wie Zwischenbilder entstehen", "如何填充中间帧",
    ),
    "Way from keyframe to keyframe, with its work": (
        "Camino entre fotogramas clave, con su trabajo", "Passage d’une image clé à l’autre, avec son coût",
        "Weg von Schlüsselbild zu Schlüsselbild, mit Aufwand", "关键帧之间的方式（含计算量）",
    ),
    "Both ways, motion aligned": (
        "En ambos sentidos, movimiento alineado", "Dans les deux sens, mouvement aligné", "Beide Richtungen, Bewegung angeglichen",
        "双向，运动对齐",
    ),
    "Both ways by turns": ("En ambos sentidos por turnos", "Les deux sens tour à tour", "Beide Richtungen im Wechsel", "双向交替"),
    "Both ways at once, mixed": (
        "En ambos sentidos a la vez, mezclados", "Les deux sens à la fois, mêlés", "Beide Richtungen zugleich, gemischt", "双向同时，混合",
    ),
    "Both ways in fewer steps": (
        "En ambos sentidos con menos pasos", "Les deux sens en moins d’étapes", "Beide Richtungen in weniger Schritten", "双向，步数较少",
    ),
    "Forward only, next keyframe unseen": (
        "Solo hacia delante, sin ver el siguiente", "En avant seulement, sans voir la suivante",
        "Nur vorwärts, das nächste ungesehen", "仅向前，不看下一个关键帧",
    ),
    "{n} UNet calls": ("{n} llamadas a la UNet", "{n} appels de l’UNet", "{n} UNet-Aufrufe", "{n} 次 UNet 调用"),
    "the usual time": ("el tiempo habitual", "la durée habituelle", "die übliche Zeit", "通常用时"),
    "{x} × the usual time": (
        "{x} × el tiempo habitual", "{x} × la durée habituelle", "{x} × die übliche Zeit", "通常用时的 {x} 倍",
    ),
    "Loop: end at the first keyframe again": (
        "Bucle: acabar en el primer fotograma clave", "Boucle : finir sur la première image clé",
        "Schleife: wieder beim ersten Schlüsselbild enden", "循环：以第一个关键帧结束",
    ),
    "Match colours to the keyframes": (
        "Ajustar los colores a los fotogramas clave", "Accorder les couleurs aux images clés", "Farben an die Schlüsselbilder angleichen",
        "颜色与关键帧一致",
    ),
    "Smooth joins (experiment): all transitions together": (
        "Uniones suaves (experimento): todas las transiciones juntas", "Raccords doux (essai) : toutes les transitions ensemble",
        "Weiche Anschlüsse (Versuch): alle Übergänge zusammen", "平滑衔接（实验）：所有过渡一起生成",
    ),
    "Four options for every keyframe, the best is taken": (
        "Cuatro opciones por fotograma clave, se toma la mejor", "Quatre options par image clé, la meilleure est prise",
        "Vier Entwürfe je Schlüsselbild, der beste wird genommen", "每个关键帧四个候选，取最佳",
    ),
    "Frames to the next": ("Fotogramas hasta la siguiente", "Images jusqu’à la suivante", "Bilder bis zur nächsten", "到下一个的帧数"),
    "Frames from stage {n} to the next": (
        "Fotogramas de la escena {n} a la siguiente", "Images de la scène {n} à la suivante", "Bilder von Szene {n} zur nächsten",
        "从阶段 {n} 到下一个的帧数",
    ),
    "Four options": ("Cuatro opciones", "Quatre options", "Vier Entwürfe", "四个候选"),
    "Four options for stage {n}": (
        "Cuatro opciones para la escena {n}", "Quatre options pour la scène {n}", "Vier Entwürfe für Szene {n}", "阶段 {n} 的四个候选",
    ),
    "Options of stage {n}": ("Opciones de la escena {n}", "Options de la scène {n}", "Entwürfe für Szene {n}", "阶段 {n} 的候选"),
    "Option {n} of {m} for stage {k}": (
        "Opción {n} de {m} para la escena {k}", "Option {n} sur {m} pour la scène {k}", "Entwurf {n} von {m} für Szene {k}",
        "阶段 {k} 的候选 {n}，共 {m} 个",
    ),
    "Option {n} of {m} for stage {k}, match {v}": (
        "Opción {n} de {m} para la escena {k}, acierto {v}", "Option {n} sur {m} pour la scène {k}, accord {v}",
        "Entwurf {n} von {m} für Szene {k}, Treffer {v}", "阶段 {k} 的候选 {n}，共 {m} 个，匹配度 {v}",
    ),
    "Your pick": ("Su elección", "Votre choix", "Ihre Wahl", "您的选择"),
    "Let the scores choose": ("Que elijan las notas", "Laisser les notes choisir", "Die Werte wählen lassen", "由评分选择"),
    "Let the scores choose for stage {n}": (
        "Que elijan las notas para la escena {n}", "Laisser les notes choisir pour la scène {n}", "Die Werte für Szene {n} wählen lassen",
        "由评分选择阶段 {n}",
    ),
    "Too close to call: option {n} is taken": (
        "Demasiado igualado: se toma la opción {n}", "Trop serré pour trancher : l’option {n} est prise",
        "Zu knapp zum Entscheiden: Entwurf {n} wird genommen", "难分高下：采用候选 {n}",
    ),
    "Option {n} is best by {v}": (
        "La opción {n} gana por {v}", "L’option {n} l’emporte de {v}", "Entwurf {n} ist um {v} besser", "候选 {n} 领先 {v}",
    ),
    "Locked": ("Bloqueada", "Verrouillée", "Gesperrt", "已锁定"),
    "Lock stage {n}": ("Bloquear la escena {n}", "Verrouiller la scène {n}", "Szene {n} sperren", "锁定阶段 {n}"),
    "Unlock stage {n}": ("Desbloquear la escena {n}", "Déverrouiller la scène {n}", "Szene {n} entsperren", "解锁阶段 {n}"),
    "Insert a stage after stage {n}": (
        "Insertar una escena tras la escena {n}", "Insérer une scène après la scène {n}", "Szene nach Szene {n} einfügen",
        "在阶段 {n} 之后插入",
    ),
    "Likeness {v}": ("Parecido {v}", "Ressemblance {v}", "Ähnlichkeit {v}", "相似度 {v}"),
    "likeness {v}": ("parecido {v}", "ressemblance {v}", "Ähnlichkeit {v}", "相似度 {v}"),
    "Keyframes {n} and {m} look too different to be bridged well": (
        "Los fotogramas clave {n} y {m} son demasiado distintos para unirlos bien",
        "Les images clés {n} et {m} sont trop différentes pour être bien reliées",
        "Schlüsselbilder {n} und {m} sind zu verschieden für einen guten Übergang", "关键帧 {n} 与 {m} 差异过大，难以良好衔接",
    ),
    "Insert a midpoint": ("Insertar un punto medio", "Insérer un point médian", "Zwischenbild einfügen", "插入中间关键帧"),
    "Make transition {n} to {m} again with a new seed": (
        "Rehacer la transición {n} a {m} con otra semilla", "Refaire la transition {n} à {m} avec une autre graine",
        "Übergang {n} zu {m} mit neuem Startwert neu machen", "用新种子重做过渡 {n} 至 {m}",
    ),
    "time not measured yet": ("tiempo aún sin medir", "durée pas encore mesurée", "Dauer noch nicht gemessen", "用时尚未测量"),
    "Join {a}, hold {b}": ("Unión {a}, pausa {b}", "Raccord {a}, arrêt {b}", "Anschluss {a}, Halt {b}", "衔接 {a}，停顿 {b}"),
    "smooth": ("suave", "fluide", "fließend", "流畅"),
    "Figures": ("Cifras", "Chiffres", "Zahlen", "数值"),
    "Hardly anything moves.": ("Casi nada se mueve.", "Presque rien ne bouge.", "Kaum etwas bewegt sich.", "几乎没有运动。"),
    "No jump.": ("Sin saltos.", "Aucun saut.", "Kein Sprung.", "没有跳跃。"),
    "One jump, at {t}.": ("Un salto, a los {t}.", "Un saut, à {t}.", "Ein Sprung, bei {t}.", "一处跳跃，在 {t}。"),
    "{n} jumps, the first at {t}.": (
        "{n} saltos, el primero a los {t}.", "{n} sauts, le premier à {t}.", "{n} Sprünge, der erste bei {t}.",
        "{n} 处跳跃，第一处在 {t}。",
    ),
    "From {a} to {b} it looks like a cross-fade.": (
        "De {a} a {b} parece un fundido.", "De {a} à {b}, on dirait un fondu.", "Von {a} bis {b} sieht es nach Überblendung aus.",
        "{a} 至 {b} 看起来像叠化。",
    ),
    "At the keyframe at {t}: {words}.": (
        "En el fotograma clave a los {t}: {words}.", "À l’image clé à {t} : {words}.", "Am Schlüsselbild bei {t}: {words}.",
        "{t} 处的关键帧：{words}。",
    ),
    "All keyframes are met exactly.": (
        "Todos los fotogramas clave se alcanzan con exactitud.", "Toutes les images clés sont atteintes exactement.",
        "Alle Schlüsselbilder werden genau getroffen.", "所有关键帧均准确到达。",
    ),
    "{n} of {m} keyframes are not met exactly.": (
        "{n} de {m} fotogramas clave no se alcanzan con exactitud.", "{n} images clés sur {m} ne sont pas atteintes exactement.",
        "{n} von {m} Schlüsselbildern werden nicht genau getroffen.", "{m} 个关键帧中有 {n} 个未准确到达。",
    ),
    "A flash at {t}.": ("Un destello a los {t}.", "Un éclair à {t}.", "Ein Aufblitzen bei {t}.", "{t} 处有闪光。"),
    "The brightness flickers.": ("El brillo parpadea.", "La luminosité scintille.", "Die Helligkeit flackert.", "亮度闪烁。"),
    "The brightness is steady.": (
        "El brillo es estable.", "La luminosité est stable.", "Die Helligkeit ist gleichmäßig.", "亮度稳定。",
    ),
    "The subject changes at {t}.": ("El motivo cambia a los {t}.", "Le sujet change à {t}.", "Das Motiv ändert sich bei {t}.", "主体在 {t} 发生变化。"),
    "The subject stays alike.": ("El motivo se mantiene.", "Le sujet reste semblable.", "Das Motiv bleibt gleich.", "主体保持一致。"),
    "Film report": ("Informe de la película", "Rapport du film", "Bericht über den Film", "影片报告"),
    "motion {v} grey levels a frame": (
        "movimiento: {v} niveles de gris por fotograma", "mouvement : {v} niveaux de gris par image", "Bewegung: {v} Graustufen je Bild",
        "运动：每帧 {v} 灰度级",
    ),
    "hardly anything moves": ("casi nada se mueve", "presque rien ne bouge", "kaum etwas bewegt sich", "几乎没有运动"),
    "it moves": ("se mueve", "ça bouge", "es bewegt sich", "有运动"),
    "keyframe at frame {n}": (
        "fotograma clave en el fotograma {n}", "image clé à l’image {n}", "Schlüsselbild bei Bild {n}", "第 {n} 帧的关键帧",
    ),
    "before the fade {a} dB, the VAE alone {b} dB; in the film {c} dB, SSIM {d}: {words}": (
        "antes del fundido {a} dB, la VAE sola {b} dB; en la película {c} dB, SSIM {d}: {words}",
        "avant le fondu {a} dB, le VAE seul {b} dB ; dans le film {c} dB, SSIM {d} : {words}",
        "vor der Blende {a} dB, die VAE allein {b} dB; im Film {c} dB, SSIM {d}: {words}",
        "淡化前 {a} dB，仅 VAE {b} dB；影片中 {c} dB，SSIM {d}：{words}",
    ),
    "before the fade {a} dB, the VAE alone {b} dB: {words}": (
        "antes del fundido {a} dB, la VAE sola {b} dB: {words}", "avant le fondu {a} dB, le VAE seul {b} dB : {words}",
        "vor der Blende {a} dB, die VAE allein {b} dB: {words}", "淡化前 {a} dB，仅 VAE {b} dB：{words}",
    ),
    "in the film {c} dB, SSIM {d}": (
        "en la película {c} dB, SSIM {d}", "dans le film {c} dB, SSIM {d}", "im Film {c} dB, SSIM {d}", "影片中 {c} dB，SSIM {d}",
    ),
    "lands as exactly as the VAE can": (
        "llega tan exacto como puede la VAE", "arrive aussi exactement que le VAE le peut", "trifft so genau, wie die VAE kann",
        "到达精度与 VAE 相当",
    ),
    "lands a little off": ("llega algo desviado", "arrive un peu à côté", "trifft etwas daneben", "到达时略有偏差"),
    "does not land on its keyframe by itself": (
        "no llega por sí solo a su fotograma clave", "n’arrive pas de lui-même sur son image clé", "trifft sein Schlüsselbild nicht von selbst",
        "未能自行到达关键帧",
    ),
    "join at frame {n}": ("unión en el fotograma {n}", "raccord à l’image {n}", "Anschluss bei Bild {n}", "第 {n} 帧的衔接"),
    "bend {a}, hold {b}: {words}": (
        "quiebro {a}, pausa {b}: {words}", "cassure {a}, arrêt {b} : {words}", "Knick {a}, Halt {b}: {words}", "弯折 {a}，停顿 {b}：{words}",
    ),
    "nothing moves, so there is nothing to see": (
        "nada se mueve, así que no hay nada que ver", "rien ne bouge, donc rien à voir", "nichts bewegt sich, also ist nichts zu sehen",
        "没有运动，因此看不出衔接",
    ),
    "a flash": ("un destello", "un éclair", "ein Aufblitzen", "一次闪光"),
    "the motion stalls, or a frame is shown twice": (
        "el movimiento se para o un fotograma sale dos veces", "le mouvement s’arrête, ou une image paraît deux fois",
        "die Bewegung stockt, oder ein Bild erscheint doppelt", "运动停滞，或某帧重复出现",
    ),
    "a jump or a kink": ("un salto o un quiebro", "un saut ou une cassure", "ein Sprung oder Knick", "跳跃或突折"),
    "no jump": ("sin salto", "pas de saut", "kein Sprung", "无跳跃"),
    "frames {a} to {b}": ("fotogramas {a} a {b}", "images {a} à {b}", "Bilder {a} bis {b}", "第 {a} 至 {b} 帧"),
    "nothing changes its place, so a cross-fade cannot be told; {rest}": (
        "nada cambia de sitio, así que no se puede saber si hay fundido; {rest}",
        "rien ne change de place, un fondu ne peut donc être distingué ; {rest}",
        "nichts ändert seinen Ort, eine Überblendung ist daher nicht zu erkennen; {rest}", "没有物体移动，无法判断是否叠化；{rest}",
    ),
    "cross-fade {v}: looks like a cross-fade; {rest}": (
        "fundido {v}: parece un fundido; {rest}", "fondu {v} : ressemble à un fondu ; {rest}",
        "Überblendung {v}: sieht nach einer Überblendung aus; {rest}", "叠化 {v}：看起来像叠化；{rest}",
    ),
    "cross-fade {v}: not a cross-fade; {rest}": (
        "fundido {v}: no es un fundido; {rest}", "fondu {v} : pas un fondu ; {rest}", "Überblendung {v}: keine Überblendung; {rest}",
        "叠化 {v}：不是叠化；{rest}",
    ),
    "largest step {v} times the usual": (
        "el mayor paso es {v} veces el habitual", "le plus grand pas vaut {v} fois l’ordinaire", "größter Schritt {v}-mal so groß wie üblich",
        "最大步幅为通常的 {v} 倍",
    ),
    "largest step {v} times the usual: {words}": (
        "el mayor paso es {v} veces el habitual: {words}", "le plus grand pas vaut {v} fois l’ordinaire : {words}",
        "größter Schritt {v}-mal so groß wie üblich: {words}", "最大步幅为通常的 {v} 倍：{words}",
    ),
    "a jump at frame {n}": ("un salto en el fotograma {n}", "un saut à l’image {n}", "ein Sprung bei Bild {n}", "第 {n} 帧有跳跃"),
    "looks like a cross-fade": ("parece un fundido", "ressemble à un fondu", "sieht nach Überblendung aus", "看起来像叠化"),
    "brightness": ("brillo", "luminosité", "Helligkeit", "亮度"),
    "flicker {a}, largest {b} grey levels: {words}, {more}": (
        "parpadeo {a}, máximo {b} niveles de gris: {words}, {more}", "scintillement {a}, au plus {b} niveaux de gris : {words}, {more}",
        "Flackern {a}, höchstens {b} Graustufen: {words}, {more}", "闪烁 {a}，最大 {b} 灰度级：{words}，{more}",
    ),
    "flickers": ("parpadea", "scintille", "flackert", "有闪烁"),
    "steady brightness": ("brillo estable", "luminosité stable", "gleichmäßige Helligkeit", "亮度稳定"),
    "no flash": ("sin destellos", "pas d’éclair", "kein Aufblitzen", "无闪光"),
    "a flash at frame {n}": (
        "un destello en el fotograma {n}", "un éclair à l’image {n}", "ein Aufblitzen bei Bild {n}", "第 {n} 帧有闪光",
    ),
    "likeness to the first keyframe {a}, at least {b}": (
        "parecido con el primer fotograma clave {a}, mínimo {b}", "ressemblance à la première image clé {a}, au moins {b}",
        "Ähnlichkeit mit dem ersten Schlüsselbild {a}, mindestens {b}", "与第一个关键帧的相似度 {a}，最低 {b}",
    ),
    "the subject stays alike": ("el motivo se mantiene", "le sujet reste semblable", "das Motiv bleibt gleich", "主体保持一致"),
    "the subject looks different at frame {n}": (
        "el motivo cambia en el fotograma {n}", "le sujet change à l’image {n}", "das Motiv sieht bei Bild {n} anders aus",
        "主体在第 {n} 帧看起来不同",
    ),
    "not measured": ("sin medir", "non mesuré", "nicht gemessen", "未测量"),
    "LPIPS: it needs the weights of a network this program does not bring": (
        "LPIPS: necesita los pesos de una red que este programa no trae", "LPIPS : il faut les poids d’un réseau que ce programme n’apporte pas",
        "LPIPS: dazu fehlen die Gewichte eines Netzes, das nicht mitkommt", "LPIPS：需要本程序未附带的网络权重",
    ),
    "ends before the fade: only the run that made a film can tell; its sidecar file is not here": (
        "finales antes del fundido: solo lo sabe la ejecución que hizo la película; falta su archivo adjunto",
        "fins avant le fondu : seule l’exécution qui a fait le film le sait ; son fichier annexe manque",
        "Enden vor der Blende: nur der Lauf, der den Film machte, weiß es; seine Begleitdatei fehlt",
        "淡化前的两端：只有生成影片的那次运行知道；其附属文件不在此处",
    ),
    "likeness of the subject: no scorer was given": (
        "parecido del motivo: no había puntuador", "ressemblance du sujet : aucun évaluateur", "Ähnlichkeit des Motivs: keine Bewertung vorhanden",
        "主体相似度：未提供评分模型",
    ),
    "Quality": ("Calidad", "Qualité", "Qualität", "质量"),
    "Width": ("Anchura", "Largeur", "Breite", "宽度"),
    "Height": ("Altura", "Hauteur", "Höhe", "高度"),
    "Steps of a keyframe": ("Pasos de un fotograma clave", "Étapes d’une image clé", "Schritte eines Schlüsselbildes", "关键帧步数"),
    "Keyframes not drawn after the first": (
        "Fotogramas clave sin seguir al primero", "Images clés sans suivre la première",
        "Schlüsselbilder nicht nach dem ersten gezeichnet", "关键帧不参照第一个绘制",
    ),
    "Steps of a transition": ("Pasos de una transición", "Étapes d’une transition", "Schritte eines Übergangs", "过渡步数"),
    "Share of steps that align motion": (
        "Parte de pasos que alinean el movimiento", "Part des étapes qui alignent le mouvement",
        "Anteil der Schritte, die Bewegung angleichen", "对齐运动的步数占比",
    ),
    "Amount of motion": ("Cantidad de movimiento", "Quantité de mouvement", "Menge der Bewegung", "运动量"),
    "Speed of motion asked for": (
        "Velocidad de movimiento pedida", "Vitesse de mouvement demandée", "Verlangte Geschwindigkeit der Bewegung", "所求运动速度",
    ),
    "Export": ("Exportar", "Exporter", "Ausgeben", "导出"),
    "Kind of file": ("Tipo de archivo", "Type de fichier", "Dateiart", "文件类型"),
    "Compression, lower keeps more detail": (
        "Compresión: menos conserva más detalle", "Compression : moins garde plus de détails", "Kompression: weniger lässt mehr Feinheiten",
        "压缩：数值越低细节越多",
    ),
    "Sound, cut to the length of the film": (
        "Sonido, cortado a la duración", "Son, coupé à la durée du film", "Ton, auf die Filmlänge gekürzt", "声音，按影片长度截取",
    ),
    "Remove the sound": ("Quitar el sonido", "Retirer le son", "Ton entfernen", "移除声音"),
    "Twice the frames, guessed between the others": (
        "El doble de fotogramas, adivinados entre los demás", "Deux fois plus d’images, devinées entre les autres",
        "Doppelt so viele Bilder, dazwischen geraten", "帧数加倍，中间帧为推测",
    ),
    "Another film is being exported. Try again when it is done.": (
        "Se está exportando otra película. Vuelva a probar cuando acabe.", "Un autre film est en cours d’export. Réessayez ensuite.",
        "Gerade wird ein anderer Film ausgegeben. Danach noch einmal versuchen.", "正在导出另一部影片。请稍后再试。",
    ),
    # Library.
    "Search": ("Buscar", "Chercher", "Suche", "搜索"),
    "Words from the prompt": ("Palabras de la descripción", "Mots de la description", "Wörter aus der Beschreibung", "提示词中的词语"),
    "Show": ("Mostrar", "Montrer", "Zeigen", "显示"),
    "All": ("Todo", "Tout", "Alle", "全部"),
    "Films": ("Películas", "Films", "Filme", "影片"),
    "film": ("película", "film", "Film", "影片"),
    "Order": ("Orden", "Ordre", "Ordnung", "排序"),
    "Newest": ("Lo más nuevo", "Plus récents", "Neueste", "最新"),
    "Best match": ("Mejor acierto", "Meilleur accord", "Beste Treffer", "匹配度最高"),
    "Select": ("Elegir", "Choisir", "Auswählen", "选择"),
    "Trash": ("Papelera", "Corbeille", "Papierkorb", "回收站"),
    "More filters": ("Más filtros", "Plus de filtres", "Mehr Filter", "更多筛选"),
    "From day": ("Desde el día", "À partir du", "Ab Tag", "起始日期"),
    "To day": ("Hasta el día", "Jusqu’au", "Bis Tag", "结束日期"),
    "Match at least": ("Acierto mínimo", "Accord minimal", "Treffer mindestens", "最低匹配度"),
    "Starred only": ("Solo con estrella", "Avec étoile seulement", "Nur mit Stern", "仅加星标"),
    "Keyframes of films too": (
        "También fotogramas clave", "Images clés des films aussi", "Auch Schlüsselbilder von Filmen", "包括影片的关键帧",
    ),
    "Selected results": ("Resultados elegidos", "Résultats choisis", "Ausgewählte Ergebnisse", "所选作品"),
    "{n} selected": ("{n} elegidos", "{n} choisis", "{n} ausgewählt", "已选 {n} 项"),
    "Compare": ("Comparar", "Comparer", "Vergleichen", "对比"),
    "Star": ("Marcar con estrella", "Ajouter une étoile", "Stern geben", "加星标"),
    "Take star away": ("Quitar la estrella", "Retirer l’étoile", "Stern wegnehmen", "取消星标"),
    "starred": ("con estrella", "avec étoile", "mit Stern", "已加星标"),
    "Starred.": ("Marcado con estrella.", "Étoile ajoutée.", "Mit Stern versehen.", "已加星标。"),
    "Move to trash": ("Tirar a la papelera", "Mettre à la corbeille", "In den Papierkorb", "移入回收站"),
    "{n} moved to the trash.": ("{n} en la papelera.", "{n} mis à la corbeille.", "{n} im Papierkorb.", "已将 {n} 项移入回收站。"),
    "Restore": ("Recuperar", "Restaurer", "Zurückholen", "恢复"),
    "Restored.": ("Recuperado.", "Restauré.", "Zurückgeholt.", "已恢复。"),
    "What is here is removed for good after 30 days.": (
        "Lo que hay aquí se borra del todo a los 30 días.", "Ce qui est ici est effacé pour de bon après 30 jours.",
        "Was hier liegt, wird nach 30 Tagen endgültig entfernt.", "此处内容将在 30 天后永久删除。",
    ),
    "The trash is empty.": ("La papelera está vacía.", "La corbeille est vide.", "Der Papierkorb ist leer.", "回收站为空。"),
    "Nothing matches. Clear the search to see all.": (
        "Nada coincide. Borre la búsqueda para verlo todo.", "Rien ne correspond. Effacez la recherche pour tout voir.",
        "Nichts passt. Leeren Sie die Suche, um alles zu sehen.", "没有匹配项。清除搜索以查看全部。",
    ),
    "Your browser sends this page no cookie, so it cannot tell what is yours: download what you want to keep.": (
        "Su navegador no envía ninguna cookie a esta página, así que no puede saber qué es suyo: descargue lo que quiera conservar.",
        "Votre navigateur n’envoie aucun cookie à cette page, qui ne peut donc savoir ce qui est à vous : téléchargez ce que vous voulez "
        "garder.",
        "Ihr Browser sendet dieser Seite kein Cookie; sie weiß daher nicht, was Ihnen gehört: laden Sie, was bleiben soll.",
        "您的浏览器未向此页面发送 Cookie，因此无法得知哪些作品属于您：请下载想保留的内容。",
    ),
    "Results go with this machine when it is given back: download what you want to keep.": (
        "Los resultados se van con esta máquina cuando se devuelve: descargue lo que quiera conservar.",
        "Les résultats partent avec cette machine quand elle est rendue : téléchargez ce que vous voulez garder.",
        "Ergebnisse gehen mit dieser Maschine, wenn sie zurückgegeben wird: laden Sie, was bleiben soll.",
        "机器归还时作品会一并消失：请下载想保留的内容。",
    ),
    "What you make appears here.": (
        "Lo que haga aparecerá aquí.", "Ce que vous faites apparaît ici.", "Was Sie machen, erscheint hier.", "您的作品会显示在这里。",
    ),
    "Today": ("Hoy", "Aujourd’hui", "Heute", "今天"),
    "Yesterday": ("Ayer", "Hier", "Gestern", "昨天"),
    "Cannot be shown": ("No se puede mostrar", "Ne peut être montré", "Kann nicht gezeigt werden", "无法显示"),
    "Missing": ("Falta", "Manquant", "Fehlt", "缺失"),
    "Close": ("Cerrar", "Fermer", "Schließen", "关闭"),
    "Picture": ("Imagen", "Image", "Bild", "图片"),
    "Use all settings": ("Usar todos los ajustes", "Reprendre tous les réglages", "Alle Einstellungen übernehmen", "使用全部设置"),
    "Use all but the seed": (
        "Usar todo menos la semilla", "Tout reprendre sauf la graine", "Alles außer dem Startwert", "使用除种子外的设置",
    ),
    "Use as reference": ("Usar como referencia", "Utiliser comme référence", "Als Vorlage nehmen", "用作参考图"),
    "Use as keyframe": ("Usar como fotograma clave", "Utiliser comme image clé", "Als Schlüsselbild nehmen", "用作关键帧"),
    "Added as a reference": ("Añadida como referencia", "Ajoutée comme référence", "Als Vorlage hinzugefügt", "已添加为参考图"),
    "Made": ("Hecho", "Fait", "Gemacht", "生成时间"),
    "Match": ("Acierto", "Accord", "Treffer", "匹配度"),
    "Took": ("Duró", "Durée", "Dauer", "用时"),
    "File": ("Archivo", "Fichier", "Datei", "文件"),
    "Licence": ("Licencia", "Licence", "Lizenz", "许可"),
    "Provenance": ("Origen", "Provenance", "Herkunft", "来源"),
    "made by a model, and marked so in the file": (
        "hecho por un modelo, y así marcado en el archivo", "fait par un modèle, et marqué comme tel dans le fichier",
        "von einem Modell gemacht und in der Datei so gekennzeichnet", "由模型生成，并已在文件中标明",
    ),
    "How it was made": ("Cómo se hizo", "Comment cela a été fait", "Wie es entstand", "如何生成"),
    "Where the pictures meet": (
        "Dónde se juntan las imágenes", "Où les images se rejoignent", "Wo die Bilder sich treffen", "两图分界位置",
    ),
    # Models.
    "Free the device’s memory": (
        "Liberar la memoria del dispositivo", "Libérer la mémoire de l’appareil", "Gerätespeicher freigeben", "释放设备内存",
    ),
    "The device’s memory is free.": (
        "La memoria del dispositivo está libre.", "La mémoire de l’appareil est libre.", "Der Gerätespeicher ist frei.",
        "设备内存已释放。",
    ),
    "{free} of disk are free.": (
        "{free} de disco libres.", "{free} de disque libres.", "{free} Platte sind frei.", "磁盘可用 {free}。",
    ),
    "Not on this disk": ("No está en este disco", "Pas sur ce disque", "Nicht auf dieser Platte", "未下载"),
    "On this disk; its licence is not accepted yet": (
        "En este disco; falta aceptar su licencia", "Sur ce disque ; licence pas encore acceptée",
        "Auf dieser Platte; Lizenz noch nicht angenommen", "已下载；尚未接受许可",
    ),
    "Fits this machine: {how}": (
        "Cabe en este equipo: {how}", "Tient sur cette machine : {how}", "Passt auf dieses Gerät: {how}", "本机可运行：{how}",
    ),
    "resident": ("todo en memoria", "tout en mémoire", "ganz im Speicher", "常驻内存"),
    "model offload": ("por partes", "partie par partie", "Teil für Teil", "分部件载入"),
    "parts loaded from disk one by one": (
        "partes cargadas del disco una a una", "parties chargées du disque une à une", "Teile einzeln von der Platte geladen",
        "逐个从磁盘载入部件",
    ),
    "blocks streamed, {n} of them resident": (
        "bloques en flujo, {n} en memoria", "blocs en flux, {n} en mémoire", "Blöcke nacheinander, {n} davon im Speicher",
        "分块流式载入，其中 {n} 块常驻",
    ),
    "Accept the licence": ("Aceptar la licencia", "Accepter la licence", "Lizenz annehmen", "接受许可"),
    "You agree to the {licence} as it stands.": (
        "Acepta {licence} tal como está.", "Vous acceptez {licence} telle quelle.", "Sie nehmen {licence} an, wie sie dasteht.",
        "您同意 {licence} 的现有条款。",
    ),
    "Accept": ("Aceptar", "Accepter", "Annehmen", "接受"),
    "Accepted; the time is noted.": (
        "Aceptada; queda anotada la hora.", "Acceptée ; l’heure est notée.", "Angenommen; die Zeit ist vermerkt.", "已接受并记录时间。",
    ),
    "Go on downloading": ("Seguir descargando", "Reprendre le téléchargement", "Weiter laden", "继续下载"),
    "The download has begun; it goes on when this page is closed.": (
        "La descarga ha empezado; sigue aunque cierre la página.", "Le téléchargement a commencé ; il continue page fermée.",
        "Der Download läuft; er geht weiter, wenn die Seite geschlossen wird.", "下载已开始；关闭页面后仍会继续。",
    ),
    "Stopped; what arrived is kept.": (
        "Parada; lo recibido se conserva.", "Arrêté ; ce qui est arrivé est gardé.", "Angehalten; was ankam, bleibt.",
        "已停止；已下载部分会保留。",
    ),
    "Needs {need} of disk; {free} are free.": (
        "Necesita {need} de disco; hay {free} libres.", "Il faut {need} de disque ; {free} sont libres.",
        "Braucht {need} Platte; {free} sind frei.", "需要 {need} 磁盘空间；可用 {free}。",
    ),
    # Licences and access; the English ones stand in the catalogue and beside the downloads.
    "The model only for non-commercial, non-production use; what it makes may be used commercially, but not to train a competing "
    "model. You must filter or review results before you pass them on, and say that they are AI-made where the law asks for it.": (
        "El modelo, solo para uso no comercial y fuera de producción; lo que hace puede usarse comercialmente, pero no para "
        "entrenar un modelo rival. Debe filtrar o revisar los resultados antes de difundirlos y decir que son de IA donde la ley "
        "lo pida.",
        "Le modèle, uniquement pour un usage non commercial et hors production ; ce qu’il fait peut servir commercialement, mais "
        "pas à entraîner un modèle concurrent. Filtrez ou relisez les résultats avant de les diffuser, et dites qu’ils viennent "
        "d’une IA là où la loi le demande.",
        "Das Modell nur für nichtgewerbliche Zwecke und nicht im Betrieb; was es macht, darf gewerblich genutzt werden, aber nicht, "
        "um ein konkurrierendes Modell zu trainieren. Ergebnisse sind vor der Weitergabe zu filtern oder zu prüfen und, wo das "
        "Gesetz es verlangt, als KI-gemacht zu kennzeichnen.",
        "模型仅限非商业、非生产用途；其生成的内容可用于商业用途，但不得用于训练竞争模型。传播前须过滤或审核结果，并在法律要求时注明由人工智能生成。",
    ),
    "Free for research, for private use and for companies under one million US dollars of yearly revenue that register; above "
    "that a paid licence. The licence file that comes with the weights decides.": (
        "Libre para investigación, uso privado y empresas registradas con menos de un millón de dólares de ingresos al año; por "
        "encima, licencia de pago. Decide el archivo de licencia que acompaña a los pesos.",
        "Libre pour la recherche, l’usage privé et les entreprises inscrites de moins d’un million de dollars de revenus par an ; "
        "au-delà, licence payante. Le fichier de licence joint aux poids fait foi.",
        "Frei für Forschung, Privates und angemeldete Firmen unter einer Million US-Dollar Jahresumsatz; darüber eine bezahlte "
        "Lizenz. Es gilt die Lizenzdatei, die den Gewichten beiliegt.",
        "研究、个人使用以及年收入低于一百万美元且已登记的公司可免费使用；超过则需付费许可。以随权重附带的许可文件为准。",
    ),
    "It is given only to accounts, and this program has no token of yours: set HF_TOKEN, or run hf auth login.": (
        "Solo se da a cuentas y este programa no tiene ninguna clave suya: defina HF_TOKEN o ejecute hf auth login.",
        "Il n’est donné qu’aux comptes et ce programme n’a pas de jeton : définissez HF_TOKEN ou lancez hf auth login.",
        "Es wird nur an Konten gegeben, und dieses Programm hat kein Token von Ihnen: HF_TOKEN setzen oder hf auth login ausführen.",
        "仅提供给账户，而本程序没有您的令牌：请设置 HF_TOKEN，或运行 hf auth login。",
    ),
    "Your account has not been granted access yet: open the model's page, read its licence and agree to it there.": (
        "Su cuenta aún no tiene acceso: abra la página del modelo, lea su licencia y acéptela allí.",
        "Votre compte n’a pas encore accès : ouvrez la page du modèle, lisez sa licence et acceptez-la.",
        "Ihr Konto hat noch keinen Zugang: öffnen Sie die Seite des Modells, lesen Sie die Lizenz und stimmen Sie dort zu.",
        "您的账户尚未获得访问权限：请打开模型页面，阅读其许可并在那里同意。",
    ),
    "Your token may not read gated repositories: allow it in the token's settings, or use one with read access.": (
        "Su clave no puede leer repositorios restringidos: permítalo en sus ajustes o use una con acceso de lectura.",
        "Votre jeton ne peut pas lire les dépôts restreints : autorisez-le dans ses réglages ou prenez-en un en lecture.",
        "Ihr Token darf geschützte Repositorien nicht lesen: erlauben Sie es in seinen Einstellungen oder nehmen Sie eines mit "
        "Leserecht.",
        "您的令牌无权读取受限仓库：请在令牌设置中允许，或使用具有读取权限的令牌。",
    ),
    "Read it before use: its terms are not told here, since its text was not at hand.": (
        "Léala antes de usarlo: aquí no se cuentan sus condiciones, pues no se tenía su texto.",
        "Lisez-la avant usage : ses conditions ne sont pas dites ici, faute de son texte.",
        "Vor dem Gebrauch lesen: die Bedingungen stehen nicht hier, da der Text nicht vorlag.",
        "使用前请阅读：此处未说明其条款，因为没有其文本。",
    ),
    "Free for any use, commercial use included.": (
        "Libre para cualquier uso, también comercial.", "Libre pour tout usage, commercial compris.",
        "Frei für jeden Zweck, auch gewerblich.", "可自由用于任何用途，包括商业用途。",
    ),
    "Free for any use.": ("Libre para cualquier uso.", "Libre pour tout usage.", "Frei für jeden Zweck.", "可自由用于任何用途。"),
    **PLAN_TEXTS,
}  # fmt: skip
