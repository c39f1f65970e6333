"""What plans and refusals say, as the page shows it: English, then Spanish, French, German and Chinese. Data only.

shown in English. Parts joined by semicolons are told one by one.
"""

from __future__ import annotations

PLAN_TEXTS: dict[str, tuple[str, str, str, str]] = {
    # What is decided.
    "Variation": ("Variación", "Variante", "Abwandlung", "变化"),
    "Count": ("Número", "Nombre", "Anzahl", "数量"),
    "Strength": ("Fuerza", "Force", "Stärke", "强度"),
    "Smooth joins": ("Uniones suaves", "Raccords doux", "Weiche Anschlüsse", "平滑衔接"),
    "Colour match": ("Ajuste de color", "Accord des couleurs", "Farbangleichung", "颜色匹配"),
    "Subject": ("Motivo", "Sujet", "Motiv", "主体"),
    "Best of": ("La mejor de", "La meilleure de", "Das beste von", "择优"),
    "Cfg scale": ("Escala CFG", "Échelle CFG", "CFG-Stärke", "CFG 强度"),
    "Step cache": ("Caché de pasos", "Cache des étapes", "Schrittspeicher", "步骤缓存"),
    "Model file": ("Archivo del modelo", "Fichier du modèle", "Modelldatei", "模型文件"),
    "Text encoder": ("Codificador de texto", "Encodeur de texte", "Text-Encoder", "文本编码器"),
    "Conditioning fps": ("Ritmo pedido al modelo", "Cadence demandée", "Verlangte Bildrate", "条件帧率"),
    "Transitions": ("Transiciones", "Transitions", "Übergänge", "过渡"),
    "Passes": ("Pasadas", "Passes", "Durchgänge", "遍数"),
    "Decode": ("Descodificación", "Décodage", "Dekodieren", "解码"),
    "Placement": ("Ubicación", "Placement", "Platz", "放置"),
    "Not ready here": ("Aún no está aquí", "Pas prêt ici", "Hier nicht bereit", "此处未就绪"),
    "{model}: {x} to download": (
        "{model}: {x} por descargar", "{model} : {x} à télécharger", "{model}: {x} herunterzuladen", "{model}：需下载 {x}",
    ),
    "{model}: its licence is not accepted yet": (
        "{model}: su licencia aún no está aceptada", "{model} : sa licence n’est pas encore acceptée",
        "{model}: die Lizenz ist noch nicht angenommen", "{model}：尚未接受其许可",
    ),
    "Untried here": ("Sin probar aquí", "Non essayé ici", "Hier unerprobt", "此处未试过"),
    "If memory runs out": ("Si falta memoria", "Si la mémoire manque", "Falls Speicher fehlt", "若内存不足"),
    "Memory ran out": ("Faltó memoria", "La mémoire a manqué", "Speicher ging aus", "内存不足"),
    "Loop": ("Bucle", "Boucle", "Schleife", "循环"),
    "Length": ("Duración", "Durée", "Länge", "长度"),
    "Bridges": ("Puentes", "Ponts", "Brücken", "桥接"),
    "Thinning": ("Aclareo", "Allègement", "Ausdünnung", "抽帧"),
    "Frames per transition": ("Fotogramas por transición", "Images par transition", "Bilder je Übergang", "每段过渡帧数"),
    "Stage {n}, prompt": ("Escena {n}, descripción", "Scène {n}, description", "Szene {n}, Beschreibung", "阶段 {n}，提示词"),
    "Stage {n}, seed": ("Escena {n}, semilla", "Scène {n}, graine", "Szene {n}, Startwert", "阶段 {n}，种子"),
    "Stage {n}, length": ("Escena {n}, duración", "Scène {n}, durée", "Szene {n}, Länge", "阶段 {n}，长度"),
    # As what.
    "none": ("ninguno", "aucun", "keines", "无"),
    "yes": ("sí", "oui", "ja", "是"),
    "on": ("activado", "activé", "an", "开启"),
    "an experiment": ("un experimento", "un essai", "ein Versuch", "实验"),
    "nothing to smooth": ("nada que suavizar", "rien à adoucir", "nichts zu glätten", "无需平滑"),
    "the first keyframe": ("el primer fotograma clave", "la première image clé", "das erste Schlüsselbild", "第一个关键帧"),
    "{n} candidates": ("{n} candidatas", "{n} candidates", "{n} Entwürfe", "{n} 个候选"),
    "{n} frames at once": ("{n} fotogramas a la vez", "{n} images à la fois", "{n} Bilder auf einmal", "一次 {n} 帧"),
    "{n} keyframe between": (
        "{n} fotograma clave entre medias", "{n} image clé entre deux", "{n} Schlüsselbild dazwischen", "中间 {n} 个关键帧",
    ),
    "{n} keyframes between": (
        "{n} fotogramas clave entre medias", "{n} images clés entre deux", "{n} Schlüsselbilder dazwischen",
        "中间有 {n} 个关键帧",
    ),
    "{how}, modulation computed once": (
        "{how}, modulación calculada una vez", "{how}, modulation calculée une fois", "{how}, Modulation einmal berechnet",
        "{how}，调制只计算一次",
    ),
    "{how}, transformer in {x}": (
        "{how}, transformer en {x}", "{how}, transformer en {x}", "{how}, Transformer in {x}", "{how}，Transformer 用 {x}",
    ),
    "{how}, decoding on the processor": (
        "{how}, descodificación en el procesador", "{how}, décodage sur le processeur", "{how}, Dekodieren auf dem Prozessor",
        "{how}，在处理器上解码",
    ),
    "{n} × {way}, {m} steps": (
        "{n} × {way}, {m} pasos", "{n} × {way}, {m} étapes", "{n} × {way}, {m} Schritte", "{n} × {way}，{m} 步",
    ),
    "{n}, {m} steps each": (
        "{n}, {m} pasos cada una", "{n}, {m} étapes chacune", "{n}, je {m} Schritte", "{n} 遍，每遍 {m} 步",
    ),
    "{n} transition": ("{n} transición", "{n} transition", "{n} Übergang", "{n} 段过渡"),
    "{n} transitions": ("{n} transiciones", "{n} transitions", "{n} Übergänge", "{n} 段过渡"),
    "the last keyframe is the first": (
        "el último fotograma clave es el primero", "la dernière image clé est la première",
        "das letzte Schlüsselbild ist das erste",
        "最后一个关键帧即第一个",
    ),
    "in tiles of {n} pixels": (
        "en teselas de {n} píxeles", "en tuiles de {n} pixels", "in Kacheln von {n} Pixeln", "按 {n} 像素分块",
    ),
    # Why: what was wished.
    "as asked": ("como se pidió", "comme demandé", "wie gewünscht", "按要求"),
    "the default of {name}": (
        "el valor por defecto de {name}", "la valeur par défaut de {name}", "die Voreinstellung von {name}", "{name} 的默认值",
    ),
    "preset {name}": ("preajuste {name}", "préréglage {name}", "Voreinstellung {name}", "预设 {name}"),
    "{title}: the shape of {w} × {h} at the size of preset {name}": (
        "{title}: el formato de {w} × {h} al tamaño del preajuste {name}",
        "{title} : le format de {w} × {h} à la taille du préréglage {name}",
        "{title}: das Format von {w} × {h} in der Größe der Voreinstellung {name}",
        "{title}：{w} × {h} 的画幅，预设 {name} 的尺寸",
    ),
    "{title}: the shape of {w} × {h} at a size {name} draws": (
        "{title}: el formato de {w} × {h} a un tamaño que {name} dibuja",
        "{title} : le format de {w} × {h} à une taille que {name} dessine",
        "{title}: das Format von {w} × {h} in einer Größe, die {name} zeichnet", "{title}：{w} × {h} 的画幅，{name} 可绘制的尺寸",
    ),
    "Record sleeve, square": (
        "Funda de disco, cuadrada", "Pochette de disque, carrée", "Plattenhülle, quadratisch", "唱片封套，方形",
    ),
    "Book cover, 7:9": ("Portada de libro, 7:9", "Couverture de livre, 7:9", "Buchumschlag, 7:9", "书籍封面，7:9"),
    "DVD cover, 2:3": ("Carátula de DVD, 2:3", "Jaquette de DVD, 2:3", "DVD-Hülle, 2:3", "DVD 封面，2:3"),
    "Film frame, 16:9": ("Fotograma de cine, 16:9", "Image de film, 16:9", "Filmbild, 16:9", "电影画面，16:9"),
    "Photograph, 3:2": ("Fotografía, 3:2", "Photographie, 3:2", "Fotografie, 3:2", "照片，3:2"),
    "Wide screen, 7:4": ("Pantalla ancha, 7:4", "Écran large, 7:4", "Breitbild, 7:4", "宽屏，7:4"),
    "Telephone screen, 4:7": ("Pantalla de teléfono, 4:7", "Écran de téléphone, 4:7", "Telefonbildschirm, 4:7", "手机屏幕，4:7"),
    "each picture has a seed of its own, derived from the first": (
        "cada imagen tiene su semilla, derivada de la primera", "chaque image a sa graine, tirée de la première",
        "jedes Bild hat seinen Startwert, aus dem ersten abgeleitet", "每张图片有自己的种子，由第一个推导",
    ),
    "of the way from this seed's noise to another's, for each picture another": (
        "del camino entre el ruido de esta semilla y el de otra, distinta en cada imagen",
        "du chemin entre le bruit de cette graine et celui d’une autre, différente pour chaque image",
        "des Wegs vom Rauschen dieses Startwerts zu dem eines anderen, für jedes Bild ein anderer",
        "从此种子的噪声走向另一种子噪声的比例，每张图片不同",
    ),
    "{n} of {m} steps are taken, from the picture on": (
        "se dan {n} de {m} pasos, a partir de la imagen", "{n} étapes sur {m} sont faites, à partir de l’image",
        "{n} von {m} Schritten werden getan, vom Bild an", "从该图片起执行 {m} 步中的 {n} 步",
    ),
    "from the first step to the last, as asked": (
        "del primer paso al último, como se pidió", "de la première étape à la dernière, comme demandé",
        "vom ersten Schritt zum letzten, wie gewünscht", "从第一步到最后一步，按要求",
    ),
    "away from the negative prompt": (
        "lejos de lo que hay que evitar", "à l’écart de ce qui est à éviter", "weg von dem, was fehlen soll", "远离反向提示词",
    ),
    "steps take twice as long": (
        "los pasos tardan el doble", "les étapes durent deux fois plus", "Schritte dauern doppelt so lang", "每步用时加倍",
    ),
    "lossy: blocks are skipped where a step changes less": (
        "con pérdida: se omiten bloques donde un paso cambia menos",
        "avec perte : des blocs sont sautés là où une étape change moins",
        "verlustbehaftet: wo ein Schritt weniger ändert, fallen Blöcke aus", "有损：变化较小的步骤会跳过部分块",
    ),
    "pixels differ slightly from native": (
        "los píxeles difieren un poco de los de native", "les pixels diffèrent un peu de ceux de native",
        "Pixel weichen leicht von native ab", "像素与 native 略有不同",
    ),
    "the first picture takes minutes more, pixels differ slightly": (
        "la primera imagen tarda minutos más, los píxeles difieren un poco",
        "la première image prend des minutes de plus, les pixels diffèrent un peu",
        "das erste Bild dauert Minuten länger, Pixel weichen leicht ab", "第一张图片多用数分钟，像素略有不同",
    ),
    "a transformer of your own stands in for {name}'s": (
        "un transformer suyo sustituye al de {name}", "un transformer à vous remplace celui de {name}",
        "ein eigener Transformer vertritt den von {name}", "用您自己的 Transformer 代替 {name} 的",
    ),
    "a transformer of your own stands in for {name}'s, its weights as they are in the file": (
        "un transformer suyo sustituye al de {name}, con los pesos tal como están en el archivo",
        "un transformer à vous remplace celui de {name}, ses poids tels qu’ils sont dans le fichier",
        "ein eigener Transformer vertritt den von {name}, seine Gewichte wie in der Datei",
        "用您自己的 Transformer 代替 {name} 的，权重保持文件中的形式",
    ),
    "a transformer of your own stands in for {name}'s, its weights as they are in the file: untried here": (
        "un transformer suyo sustituye al de {name}, con los pesos tal como están en el archivo: sin probar aquí",
        "un transformer à vous remplace celui de {name}, ses poids tels qu’ils sont dans le fichier : non essayé ici",
        "ein eigener Transformer vertritt den von {name}, seine Gewichte wie in der Datei: hier unerprobt",
        "用您自己的 Transformer 代替 {name} 的，权重保持文件中的形式：此处未试过",
    ),
    "one of your own stands in for {name}'s": (
        "uno suyo sustituye al de {name}", "un encodeur à vous remplace celui de {name}", "ein eigener vertritt den von {name}",
        "用您自己的代替 {name} 的",
    ),
    "pixels differ": ("los píxeles difieren", "les pixels diffèrent", "Pixel weichen ab", "像素不同"),
    "pictures differ": ("las imágenes difieren", "les images diffèrent", "Bilder weichen ab", "图片会不同"),
    "every step looks at up to {n} tokens of pictures, {m} of them drawn: at least {x} times the work": (
        "cada paso mira hasta {n} tokens de imágenes, {m} de ellos dibujados: al menos {x} veces el trabajo",
        "chaque étape regarde jusqu’à {n} jetons d’images, dont {m} dessinés : au moins {x} fois le travail",
        "jeder Schritt betrachtet bis zu {n} Bildtoken, {m} davon gezeichnet: mindestens {x}-mal die Arbeit",
        "每步查看至多 {n} 个图片词元，其中 {m} 个为绘制：工作量至少 {x} 倍",
    ),
    "{n}, up to {m} pixels each": (
        "{n}, hasta {m} píxeles cada una", "{n}, jusqu’à {m} pixels chacune", "{n}, je bis zu {m} Pixel",
        "{n} 张，每张至多 {m} 像素",
    ),
    # Why: films.
    "transitions share their keyframe, so it is counted once": (
        "las transiciones comparten su fotograma clave, que cuenta una vez",
        "les transitions partagent leur image clé, comptée une fois",
        "Übergänge teilen sich ihr Schlüsselbild, es zählt einmal", "相邻过渡共用关键帧，只计一次",
    ),
    "{n} given, cut to {w} × {h}": (
        "{n} dados, recortados a {w} × {h}", "{n} données, recadrées à {w} × {h}", "{n} gegeben, auf {w} × {h} geschnitten",
        "{n} 个给定，裁切为 {w} × {h}",
    ),
    "{n} locked": ("{n} bloqueados", "{n} verrouillées", "{n} gesperrt", "{n} 个锁定"),
    "the others from one seed": (
        "los demás de una semilla", "les autres d’une même graine", "die anderen aus einem Startwert", "其余来自同一种子",
    ),
    "all from one seed, so that the subject stays alike": (
        "todos de una semilla, para que el motivo se parezca", "toutes d’une même graine, pour que le sujet reste semblable",
        "alle aus einem Startwert, damit das Motiv gleich bleibt", "全部来自同一种子，使主体保持相似",
    ),
    "the others are drawn after its picture": (
        "los demás se dibujan según su imagen", "les autres sont dessinées d’après son image",
        "die anderen werden nach seinem Bild gezeichnet",
        "其余按其图片绘制",
    ),
    "all are kept": ("todas se conservan", "toutes sont gardées", "alle bleiben erhalten", "全部保留"),
    "the scores choose, unless you pick one": (
        "eligen las notas, salvo que elija usted", "les notes choisissent, sauf si vous en prenez une",
        "die Werte wählen, wenn Sie nicht selbst wählen", "由评分选择，除非您自选",
    ),
    "every keyframe is a given picture, so nothing is drawn": (
        "cada fotograma clave es una imagen dada, no se dibuja nada", "chaque image clé est donnée, rien n’est dessiné",
        "jedes Schlüsselbild ist gegeben, nichts wird gezeichnet", "所有关键帧均为给定图片，无需绘制",
    ),
    "your own": ("suyas", "les vôtres", "eigene", "您自己的"),
    "drawn once": ("se dibuja una vez", "dessinée une fois", "einmal gezeichnet", "只绘制一次"),
    "moments of the scene": ("momentos de la escena", "moments de la scène", "Momente der Szene", "场景的各个时刻"),
    "phases of {name}": ("fases de {name}", "phases de {name}", "Phasen von {name}", "{name} 的各阶段"),
    "the camera: {name}": ("la cámara: {name}", "la caméra : {name}", "die Kamera: {name}", "镜头：{name}"),
    "{t} s at {n} frames a second, as asked": (
        "{t} s a {n} fotogramas por segundo, como se pidió", "{t} s à {n} images par seconde, comme demandé",
        "{t} s bei {n} Bildern je Sekunde, wie gewünscht", "{t} 秒，每秒 {n} 帧，按要求",
    ),
    "a transition of {n} frames is longer than the {m} {name} was trained on": (
        "una transición de {n} fotogramas es más larga que los {m} con que se entrenó {name}",
        "une transition de {n} images est plus longue que les {m} de l’entraînement de {name}",
        "ein Übergang von {n} Bildern ist länger als die {m}, mit denen {name} trainiert wurde",
        "{n} 帧的过渡长于 {name} 训练所用的 {m} 帧",
    ),
    "as many as {name} was trained on": (
        "tantos como en el entrenamiento de {name}", "autant que pour l’entraînement de {name}",
        "so viele, wie {name} aus dem Training kennt", "与 {name} 训练时一样多",
    ),
    "fewer than {n} frames: made longer, then every k-th is kept": (
        "menos de {n} fotogramas: se hace más larga y se conserva uno de cada k",
        "moins de {n} images : faite plus longue, puis une image sur k est gardée",
        "weniger als {n} Bilder: länger gemacht, dann bleibt jedes k-te", "少于 {n} 帧：先做得更长，再每 k 帧保留一帧",
    ),
    "arXiv:{a} and arXiv:{b}": (
        "arXiv:{a} y arXiv:{b}", "arXiv:{a} et arXiv:{b}", "arXiv:{a} und arXiv:{b}", "arXiv:{a} 与 arXiv:{b}",
    ),
    "{n} UNet calls in all": (
        "{n} llamadas a la UNet en total", "{n} appels de l’UNet en tout", "{n} UNet-Aufrufe insgesamt", "共 {n} 次 UNet 调用",
    ),
    "both ways by turns, the backward motion aligned first": (
        "en ambos sentidos por turnos, con el movimiento hacia atrás alineado antes",
        "dans les deux sens tour à tour, le mouvement arrière aligné d’abord",
        "beide Richtungen im Wechsel, die rückläufige Bewegung zuerst angeglichen", "双向交替，先对齐反向运动",
    ),
    "both ways by turns": (
        "en ambos sentidos por turnos", "les deux sens tour à tour", "beide Richtungen im Wechsel", "双向交替",
    ),
    "both ways at once, mixed": (
        "en ambos sentidos a la vez, mezclados", "les deux sens à la fois, mêlés", "beide Richtungen zugleich, gemischt",
        "双向同时，混合",
    ),
    "both ways by turns, in fewer steps": (
        "en ambos sentidos por turnos, con menos pasos", "les deux sens tour à tour, en moins d’étapes",
        "beide Richtungen im Wechsel, in weniger Schritten", "双向交替，步数较少",
    ),
    "forward only: the next keyframe is not seen": (
        "solo hacia delante: no se ve el siguiente fotograma clave", "en avant seulement : l’image clé suivante n’est pas vue",
        "nur vorwärts: das nächste Schlüsselbild bleibt ungesehen", "仅向前：看不到下一个关键帧",
    ),
    "a change of one stage makes every transition anew": (
        "cambiar una escena rehace todas las transiciones", "changer une scène refait toutes les transitions",
        "ändert sich eine Szene, entstehen alle Übergänge neu", "更改一个阶段会重做所有过渡",
    ),
    "the film has no inner keyframe": (
        "la película no tiene fotograma clave interior", "le film n’a pas d’image clé intérieure",
        "der Film hat kein inneres Schlüsselbild", "影片没有中间的关键帧",
    ),
    "each frame's colours follow those of its two keyframes, as asked": (
        "los colores de cada fotograma siguen los de sus dos fotogramas clave, como se pidió",
        "les couleurs de chaque image suivent celles de ses deux images clés, comme demandé",
        "die Farben jedes Bildes folgen denen seiner beiden Schlüsselbilder, wie gewünscht", "每帧颜色跟随其两个关键帧，按要求",
    ),
    "the most {name} is asked for": (
        "lo máximo que se pide a {name}", "le plus qu’on demande à {name}", "mehr wird von {name} nicht verlangt",
        "对 {name} 要求的上限",
    ),
    "the least {name} is asked for": (
        "lo mínimo que se pide a {name}", "le moins qu’on demande à {name}", "weniger wird von {name} nicht verlangt",
        "对 {name} 要求的下限",
    ),
    "of thinned transitions every frame of {n} is played": (
        "de las transiciones aclaradas se reproduce un fotograma de cada {n}",
        "des transitions allégées, une image sur {n} est jouée", "von ausgedünnten Übergängen läuft jedes {n}. Bild",
        "抽帧的过渡每 {n} 帧播放一帧",
    ),
    "playback stays at {n}": (
        "la reproducción sigue a {n}", "la lecture reste à {n}", "abgespielt wird weiter mit {n}", "播放仍为 {n}",
    ),
    "{name} takes its keyframes at once": (
        "{name} toma sus fotogramas clave a la vez", "{name} prend ses images clés à la fois",
        "{name} nimmt seine Schlüsselbilder auf einmal",
        "{name} 一次接收所有关键帧",
    ),
    "it was never run here with its published weights": (
        "nunca se ejecutó aquí con sus pesos publicados", "jamais exécuté ici avec ses poids publiés",
        "hier nie mit den veröffentlichten Gewichten gelaufen", "此处从未用其公开权重运行过",
    ),
    # Why: models and memory.
    "the best model that is on disk and fits": (
        "el mejor modelo que está en el disco y cabe", "le meilleur modèle présent sur le disque et qui tient",
        "das beste Modell, das da ist und passt", "磁盘上放得下的最佳模型",
    ),
    "goes with the pocket image model": (
        "acompaña al modelo de imagen de bolsillo", "va avec le modèle d’image de poche", "gehört zum Taschenmodell für Bilder",
        "与口袋图像模型配套",
    ),
    "goes with the pocket video model": (
        "acompaña al modelo de vídeo de bolsillo", "va avec le modèle vidéo de poche", "gehört zum Taschenmodell für Filme",
        "与口袋视频模型配套",
    ),
    "the smallest that is here": (
        "el más pequeño que hay", "le plus petit qui est là", "das kleinste, das da ist", "现有的最小模型",
    ),
    "the device holds none": (
        "el dispositivo no admite ninguno", "l’appareil n’en tient aucun", "aufs Gerät passt keines", "设备放不下任何模型",
    ),
    "{name} does not go with {model}": (
        "{name} no acompaña a {model}", "{name} ne va pas avec {model}", "{name} passt nicht zu {model}",
        "{name} 与 {model} 不配套",
    ),
    "no larger model is ready on this machine": (
        "ningún modelo mayor está listo en este equipo", "aucun modèle plus grand n’est prêt sur cette machine",
        "kein größeres Modell ist auf diesem Gerät bereit", "本机没有就绪的更大模型",
    ),
    "the licence of {name} is not accepted yet": (
        "la licencia de {name} aún no está aceptada", "la licence de {name} n’est pas encore acceptée",
        "die Lizenz von {name} ist noch nicht angenommen", "尚未接受 {name} 的许可",
    ),
    "{name} takes no references": (
        "{name} no admite referencias", "{name} ne prend pas de références", "{name} nimmt keine Vorlagen", "{name} 不支持参考图",
    ),
    "{name} does not fit this machine": (
        "{name} no cabe en este equipo", "{name} ne tient pas sur cette machine", "{name} passt nicht auf dieses Gerät",
        "本机放不下 {name}",
    ),
    "on disk": ("en el disco", "sur le disque", "auf der Platte", "在磁盘上"),
    "{name} is not on this disk": (
        "{name} no está en este disco", "{name} n’est pas sur ce disque", "{name} ist nicht auf dieser Platte",
        "{name} 不在此磁盘上",
    ),
    "pocket models are tiny": (
        "los modelos de bolsillo son diminutos", "les modèles de poche sont minuscules", "Taschenmodelle sind winzig",
        "口袋模型很小",
    ),
    "the published weights": ("los pesos publicados", "les poids publiés", "die veröffentlichten Gewichte", "公开的权重"),
    "this GPU has no bf16": (
        "esta GPU no tiene bf16", "ce GPU n’a pas de bf16", "diese GPU kann kein bf16", "此 GPU 不支持 bf16",
    ),
    "{what} in fp32, where fp16 overflows": (
        "{what} en fp32, donde fp16 desborda", "{what} en fp32, là où fp16 déborde", "{what} in fp32, wo fp16 überläuft",
        "{what} 使用 fp32，因 fp16 会溢出",
    ),
    "this processor does not compute in bf16 by itself": (
        "este procesador no calcula en bf16 por sí mismo", "ce processeur ne calcule pas en bf16 de lui-même",
        "dieser Prozessor rechnet nicht selbst in bf16", "此处理器本身不支持 bf16 计算",
    ),
    "this processor only imitates bf16, which is slow, but fp32 does not fit": (
        "este procesador solo imita bf16, lo que es lento, pero fp32 no cabe",
        "ce processeur ne fait qu’imiter bf16, ce qui est lent, mais fp32 ne tient pas",
        "dieser Prozessor ahmt bf16 nur nach, was langsam ist, aber fp32 passt nicht",
        "此处理器只能模拟 bf16，较慢，但 fp32 放不下",
    ),
    "the transformer's weights, which the request allows": (
        "los pesos del transformer, como permite la petición", "les poids du transformer, ce que la demande permet",
        "die Gewichte des Transformers, was der Wunsch erlaubt", "Transformer 的权重，请求允许如此",
    ),
    "compiled, its activations are rounded too": (
        "compilado, también se redondean sus activaciones", "compilé, ses activations sont arrondies aussi",
        "übersetzt werden auch seine Aktivierungen gerundet", "编译后其激活值也会舍入",
    ),
    "in {name} nothing fits that has run here": (
        "en {name} no cabe nada que se haya ejecutado aquí", "en {name}, rien de ce qui a tourné ici ne tient",
        "in {name} passt nichts, was hier gelaufen ist", "以 {name} 没有在此运行过的方式放得下",
    ),
    "all of it stays on the device: about {x}": (
        "todo se queda en el dispositivo: unos {x}", "tout reste sur l’appareil : environ {x}",
        "alles bleibt auf dem Gerät: etwa {x}",
        "全部留在设备上：约 {x}",
    ),
    "each part visits the device when it is needed: about {x}": (
        "cada parte pasa al dispositivo cuando hace falta: unos {x}",
        "chaque partie va sur l’appareil quand il le faut : environ {x}",
        "jeder Teil kommt aufs Gerät, wenn er gebraucht wird: etwa {x}", "各部件在需要时进入设备：约 {x}",
    ),
    "each part is read when it is needed, and given back: about {x}": (
        "cada parte se lee cuando hace falta y se devuelve: unos {x}",
        "chaque partie est lue quand il le faut, puis rendue : environ {x}",
        "jeder Teil wird gelesen, wenn er gebraucht wird, und zurückgegeben: etwa {x}", "各部件在需要时读入，用后释放：约 {x}",
    ),
    "blocks, and layers of text encoders, visit the device one after the other: about {x}": (
        "los bloques, y las capas de los codificadores de texto, pasan al dispositivo uno tras otro: unos {x}",
        "les blocs, et les couches des encodeurs de texte, vont sur l’appareil l’un après l’autre : environ {x}",
        "Blöcke und Schichten der Text-Encoder kommen nacheinander aufs Gerät: etwa {x}",
        "各块及文本编码器各层依次进入设备：约 {x}",
    ),
    "goes on where it stopped": (
        "sigue donde paró", "reprend où il s’était arrêté", "geht dort weiter, wo es anhielt", "从停下处继续",
    ),
    "about {x}, likely faster": (
        "unos {x}, seguramente más rápido", "environ {x}, sans doute plus rapide", "etwa {x}, wohl schneller", "约 {x}，可能更快",
    ),
    "about {x}, likely faster, with slightly other pixels": (
        "unos {x}, seguramente más rápido, con píxeles algo distintos",
        "environ {x}, sans doute plus rapide, avec des pixels un peu autres",
        "etwa {x}, wohl schneller, mit leicht anderen Pixeln", "约 {x}，可能更快，像素略有不同",
    ),
    "add --untried to allow it": (
        "añada --untried para permitirlo", "ajoutez --untried pour le permettre", "mit --untried wird es erlaubt",
        "加上 --untried 即可允许",
    ),
    "the picture is larger than one megapixel": (
        "la imagen pasa de un megapíxel", "l’image dépasse un mégapixel", "das Bild ist größer als ein Megapixel",
        "图片超过一百万像素",
    ),
    "decoding it at once does not fit": (
        "descodificarla de una vez no cabe", "la décoder d’un coup ne tient pas", "auf einmal dekodiert passt es nicht",
        "一次解码放不下",
    ),
    "the request allows slightly other pixels": (
        "la petición permite píxeles algo distintos", "la demande permet des pixels un peu autres",
        "der Wunsch erlaubt leicht andere Pixel",
        "请求允许像素略有不同",
    ),
    "the request allows slight changes": (
        "la petición permite cambios leves", "la demande permet de légers changements", "der Wunsch erlaubt leichte Änderungen",
        "请求允许轻微变化",
    ),
    "{n} do not fit": ("{n} no caben", "{n} ne tiennent pas", "{n} passen nicht", "{n} 帧放不下"),
    "while decoding": ("al descodificar", "pendant le décodage", "beim Dekodieren", "解码时"),
    # Why a model does not fit, and what would.
    "{name} needs {x} of {kind} at {p}; {device} has {y} for it.": (
        "{name} necesita {x} de {kind} con {p}; {device} tiene {y} para ello.",
        "{name} demande {x} de {kind} en {p} ; {device} en offre {y}.",
        "{name} braucht {x} {kind} bei {p}; {device} hat dafür {y}.", "{name} 以 {p} 需要 {x} {kind}；{device} 可提供 {y}。",
    ),
    "device memory": ("memoria del dispositivo", "mémoire de l’appareil", "Gerätespeicher", "设备内存"),
    "host memory": ("memoria del equipo", "mémoire vive", "Arbeitsspeicher", "主机内存"),
    "memory": ("memoria", "mémoire", "Speicher", "内存"),
    "It fits at {n} × {m}.": ("Cabe a {n} × {m}.", "Il tient à {n} × {m}.", "Bei {n} × {m} passt es.", "以 {n} × {m} 可以放下。"),
    "It fits with one reference fewer.": (
        "Cabe con una referencia menos.", "Il tient avec une référence de moins.", "Mit einer Vorlage weniger passt es.",
        "减少一张参考图即可放下。",
    ),
    "The best model that fits is {name}.": (
        "El mejor modelo que cabe es {name}.", "Le meilleur modèle qui tient est {name}.",
        "Das beste Modell, das passt, ist {name}.",
        "放得下的最佳模型是 {name}。",
    ),
    "Give it more memory: close other programs, or raise --vram.": (
        "Dele más memoria: cierre otros programas o suba --vram.",
        "Donnez-lui plus de mémoire : fermez d’autres programmes ou augmentez --vram.",
        "Mehr Speicher geben: andere Programme schließen oder --vram erhöhen.", "请提供更多内存：关闭其他程序，或调高 --vram。",
    ),
    "With {how} it takes {x}, but that is untried on such a device: add --untried.": (
        "{how}, ocupa {x}, pero eso está sin probar en un dispositivo así: añada --untried.",
        "{how}, il prend {x}, mais ce n’est pas essayé sur un tel appareil : ajoutez --untried.",
        "Braucht {x} so: {how}; das ist auf solch einem Gerät unerprobt: --untried anfügen.",
        "{how}时占用 {x}，但在此类设备上未试过：请加上 --untried。",
    ),
    "With consent to slightly other pixels, by {how}, it takes {x}: add --consent.": (
        "Si acepta píxeles algo distintos, {how}, ocupa {x}: añada --consent.",
        "Si vous acceptez des pixels un peu autres, {how}, il prend {x} : ajoutez --consent.",
        "Sind leicht andere Pixel recht, braucht es {x} ({how}): --consent anfügen.",
        "若允许像素略有不同（{how}），占用 {x}：请加上 --consent。",
    ),
    "With consent to slightly other pixels, by {how}, it takes {x}: {first}, then add --consent.": (
        "Si acepta píxeles algo distintos, {how}, ocupa {x}: {first} y añada --consent.",
        "Si vous acceptez des pixels un peu autres, {how}, il prend {x} : {first}, puis ajoutez --consent.",
        "Sind leicht andere Pixel recht, braucht es {x} ({how}): {first}, dann --consent anfügen.",
        "若允许像素略有不同（{how}），占用 {x}：先 {first}，再加上 --consent。",
    ),
    "With consent to slightly other pixels, by {how}, it takes {x}, untried on such a device: add --consent --untried.": (
        "Si acepta píxeles algo distintos, {how}, ocupa {x}, sin probar en un dispositivo así: añada --consent --untried.",
        "Si vous acceptez des pixels un peu autres, {how}, il prend {x}, non essayé sur un tel appareil : ajoutez "
        "--consent --untried.",
        "Sind leicht andere Pixel recht, braucht es {x} ({how}), auf solch einem Gerät unerprobt: --consent --untried anfügen.",
        "若允许像素略有不同（{how}），占用 {x}，在此类设备上未试过：请加上 --consent --untried。",
    ),
    "With consent to slightly other pixels, by {how}, it takes {x}, untried on such a device: {first}, then add --consent "
    "--untried.": (
        "Si acepta píxeles algo distintos, {how}, ocupa {x}, sin probar en un dispositivo así: {first} y añada --consent "
        "--untried.",
        "Si vous acceptez des pixels un peu autres, {how}, il prend {x}, non essayé sur un tel appareil : {first}, puis "
        "ajoutez --consent --untried.",
        "Sind leicht andere Pixel recht, braucht es {x} ({how}), auf solch einem Gerät unerprobt: {first}, dann --consent "
        "--untried anfügen.",
        "若允许像素略有不同（{how}），占用 {x}，在此类设备上未试过：先 {first}，再加上 --consent --untried。",
    ),
    "streaming its blocks": ("con sus bloques en flujo", "en faisant passer ses blocs", "Blöcke nacheinander", "分块流式载入"),
    "streaming its blocks and {how}": (
        "con sus bloques en flujo y {how}", "en faisant passer ses blocs et {how}", "Blöcke nacheinander und {how}",
        "分块流式载入并{how}",
    ),
    "computing its modulation once": (
        "con su modulación calculada una vez", "en calculant sa modulation une fois", "Modulation einmal berechnet",
        "只计算一次调制",
    ),
    "computing its modulation once and {how}": (
        "con su modulación calculada una vez y {how}", "en calculant sa modulation une fois et {how}",
        "Modulation einmal berechnet und {how}", "只计算一次调制并{how}",
    ),
    "keeping its transformer's weights in {x}": (
        "con los pesos de su transformer en {x}", "en gardant les poids de son transformer en {x}",
        "Gewichte des Transformers in {x}", "Transformer 权重用 {x} 保存",
    ),
    # What fields accept.
    "a whole number from {n} to {m}": (
        "un número entero de {n} a {m}", "un nombre entier de {n} à {m}", "eine ganze Zahl von {n} bis {m}", "{n} 到 {m} 的整数",
    ),
    "a whole number from {n} to {m} in steps of {k}": (
        "un número entero de {n} a {m} de {k} en {k}", "un nombre entier de {n} à {m} par pas de {k}",
        "eine ganze Zahl von {n} bis {m} in Schritten von {k}", "{n} 到 {m} 的整数，步长 {k}",
    ),
    "a number from {n} to {m}": (
        "un número de {n} a {m}", "un nombre de {n} à {m}", "eine Zahl von {n} bis {m}", "{n} 到 {m} 的数",
    ),
    "{n} to {m} characters": ("de {n} a {m} caracteres", "{n} à {m} caractères", "{n} bis {m} Zeichen", "{n} 到 {m} 个字符"),
    "{n} to {m} entries": ("de {n} a {m} entradas", "{n} à {m} entrées", "{n} bis {m} Einträge", "{n} 到 {m} 项"),
    "text without control characters or lone surrogates": (
        "texto sin caracteres de control ni sustitutos sueltos", "du texte sans caractères de contrôle ni substituts isolés",
        "Text ohne Steuerzeichen und einzelne Ersatzzeichen", "不含控制字符或孤立代理项的文本",
    ),
}  # fmt: skip
