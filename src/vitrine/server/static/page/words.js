// What the page says, in three languages. {places} are filled in; a list is for counting: [one, few, many].

export const LANGUAGES = ["en", "uk", "ru"];

const WORDS = {
  en: {
    skip: "To the content",
    "nav.search": "Search", "nav.compare": "Compare", "nav.map": "Map",
    "settings.language": "Language", "settings.theme": "Light / dark", "settings.unlock": "Unlock", "settings.lock": "Lock",
    items: ["item", "items", "items"],
    away: "The server does not answer. Trying again…", back: "The server is back.", wrong: "Something went wrong on this page; reload it.",
    "welcome.title": "What is it, and what looks like it?",
    "welcome.text": "Drop a picture of a garment anywhere on this page, paste one, choose a file, or take a photo. It goes to this server only.",
    choose: "Choose a picture", take: "Take a photo", "welcome.begin": "Or begin with something from the collection", another: "Others",
    asked: "Your picture", crop: "Drag a box around what you mean. Arrow keys move it, with Shift they size it, Escape takes it away.",
    "crop.tip": "Several things in it? Drag a box around one.", "crop.begin": "Draw a box", "crop.off": "Whole picture",
    unknown: ["It does not look like the one class that the model knows.", "It does not look like any of the {n} classes that the model knows.", "It does not look like any of the {n} classes that the model knows."],
    probabilities: "What it is", nearest: "What comes nearest", saw: "What the model saw", "saw.text": "{size}, shades of grey: trimmed, made small, on black.",
    "saw.colour": "{size}, in colour: made small; a plain ground is cut off.",
    why: "Why?", "why.wait": "Looking…", "why.nowhere": "No place counted more than the others.",
    "why.said": "To say “{label}”, the model looked mostly {place}. Yellow counts most, violet little, no colour nothing.",
    "why.unknown": "It looks like none of the classes; what reminded the model of “{label}” lies mostly {place}. Yellow counts most, violet little, no colour nothing.",
    "why.0": "at the upper left", "why.1": "at the top", "why.2": "at the upper right", "why.3": "on the left", "why.4": "in the middle", "why.5": "on the right", "why.6": "at the lower left", "why.7": "at the bottom", "why.8": "at the lower right",
    fromItem: "An item of the collection", class: "Class", noClass: "no class",
    likes: "Look-alikes", threshold: "At least", all: "All classes", more: "Show more", none: "Nothing is that much alike. Lower the threshold, or show all classes.",
    found: ["{n} look-alike", "{n} look-alikes", "{n} look-alikes"],
    from: "Search from this", like: "More like this", unlike: "Less like this", with: "Compare with it", remove: "Remove from the collection",
    drop: "Take it out of the question", score: "alike by {score}", past: "Before", forget: "Forget these",
    add: "Add to the collection", "add.text": "Its class, if it has one:", added: "Added as item {id}.", there: "It is in the collection already, as item {id}.",
    "remove.sure": "Remove item {id}?", "remove.text": "It leaves the catalogue “{name}”. The file it came from stays.", removed: "Item {id} is removed.",
    yes: "Yes", no: "Cancel",
    "unlock.title": "Add and remove items", "unlock.text": "The token that the server was started with (vitrine serve --token):", "unlock.field": "Token",
    "compare.title": "Do both show the same kind of garment?", "compare.text": "Drop a picture on each side, or choose.",
    "compare.same": "same kind", "compare.distance": "distance of the embeddings", "compare.a": "First picture", "compare.b": "Second picture",
    "measure.cosine": "cosine similarity", "measure.class-product": "chance of one class", "measure.class-distance": "distance of the classes",
    gone: "That photo is no longer kept in this browser; choose it again.", "code.busy": "The server is busy; try again in a moment.",
    "code.item": "There is no such item (any more).", "code.token": "That is not the server's token.", "code.image": "That cannot be read as a picture. Allowed are JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC and AVIF.",
    "code.too-large": "That file is too large.", "code.timeout": "That took too long; try again.",
    "code.input": "The server does not take that question.", "code.malformed": "The server cannot read that question.",
    "code.map": "The map could not be computed, or not be kept.", "code.catalogue": "The collection cannot be opened right now.",
    "code.model": "The model cannot be used right now.", "code.storage": "The server has no room left on its disk, or may not write there.",
    "code.not-found": "There is nothing at that address.", "code.slow": "The picture took too long to arrive; send a smaller one.",
    "code.no-token": "This server was started without a token; nothing can be changed.",
    "code.internal": "The server could not answer that.",
    "map.keys": "The map of the collection. Arrow keys move it, plus and minus zoom, 0 shows all, Enter searches from what lies in the middle.",
    "map.nearer": "Nearer", "map.farther": "Farther", "map.all": "All", "map.lasso": "Lasso", "map.computing": "The map is being computed: {share}",
    "map.export": "Save as CSV", "map.drop": "Let go", "map.selected": ["{n} selected", "{n} selected", "{n} selected"],
    "map.only": "Only these", "map.back": ["Only {n} shown: show all", "Only {n} shown: show all", "Only {n} shown: show all"],
    "map.by": "Colour", "map.by.class": "class", "map.by.confidence": "confidence",
    "map.confidence.text": "Of its 15 nearest, so many have its class", "map.agree": "{agree} of {of} nearest have its class",
    "map.others": ["{n} other class", "{n} other classes", "{n} other classes"],
    "map.sure": ["Remove {n} item?", "Remove {n} items?", "Remove {n} items?"],
  },
  uk: {
    skip: "Перейти до вмісту",
    "nav.search": "Пошук", "nav.compare": "Порівняння", "nav.map": "Мапа",
    "settings.language": "Мова", "settings.theme": "Світла / темна", "settings.unlock": "Дозволити зміни", "settings.lock": "Заборонити зміни",
    items: ["річ", "речі", "речей"],
    away: "Сервер не відповідає. Пробуємо ще…", back: "Сервер знову відповідає.", wrong: "На цій сторінці щось пішло не так; перезавантажте її.",
    "welcome.title": "Що це і що на це схоже?",
    "welcome.text": "Перетягніть світлину одягу будь-куди на цю сторінку, вставте її, виберіть файл або зробіть знімок. Її отримує лише цей сервер.",
    choose: "Вибрати світлину", take: "Зробити знімок", "welcome.begin": "Або почніть із чогось у колекції", another: "Інші",
    asked: "Ваша світлина", crop: "Обведіть рамкою те, що маєте на увазі. Стрілки пересувають її, із Shift змінюють розмір, Escape прибирає.",
    "crop.tip": "На світлині кілька речей? Обведіть одну рамкою.", "crop.begin": "Намалювати рамку", "crop.off": "Уся світлина",
    unknown: ["Не схоже на жоден із класів, які знає нейромережа ({n}).", "Не схоже на жоден із {n} класів, які знає нейромережа.", "Не схоже на жоден із {n} класів, які знає нейромережа."],
    probabilities: "Що це", nearest: "Найближче до цього", saw: "Що побачила нейромережа", "saw.text": "{size}, відтінки сірого: обрізано, зменшено, на чорному.",
    "saw.colour": "{size}, у кольорі: зменшено; рівне тло відрізається.",
    why: "Чому?", "why.wait": "Дивимося…", "why.nowhere": "Жодне місце не важило більше за інші.",
    "why.said": "Щоб сказати «{label}», нейромережа дивилася переважно {place}. Жовте важить найбільше, фіолетове — мало, без кольору — нічого.",
    "why.unknown": "Це не схоже на жоден із класів; те, що нагадало нейромережі «{label}», — переважно {place}. Жовте важить найбільше, фіолетове — мало, без кольору — нічого.",
    "why.0": "угорі ліворуч", "why.1": "угорі", "why.2": "угорі праворуч", "why.3": "ліворуч", "why.4": "посередині", "why.5": "праворуч", "why.6": "унизу ліворуч", "why.7": "унизу", "why.8": "унизу праворуч",
    fromItem: "Річ із колекції", class: "Клас", noClass: "без класу",
    likes: "Схоже", threshold: "Схожість від", all: "Усі класи", more: "Показати ще", none: "Настільки схожого немає. Знизьте поріг або покажіть усі класи.",
    found: ["{n} схожа річ", "{n} схожі речі", "{n} схожих речей"],
    from: "Шукати схоже на це", like: "Більше схожого на це", unlike: "Менше схожого на це", with: "Порівняти з цим", remove: "Вилучити з колекції",
    drop: "Прибрати із запиту", score: "схожість {score}", past: "Раніше", forget: "Забути",
    add: "Додати до колекції", "add.text": "Клас, якщо він є:", added: "Додано: річ № {id}.", there: "Це вже є в колекції: річ № {id}.",
    "remove.sure": "Вилучити річ № {id}?", "remove.text": "Вона зникне з каталогу «{name}». Файл, з якого вона взята, лишиться.", removed: "Річ № {id} вилучено.",
    yes: "Так", no: "Скасувати",
    "unlock.title": "Додавати й вилучати речі", "unlock.text": "Ключ доступу, з яким запущено сервер (vitrine serve --token):", "unlock.field": "Ключ доступу",
    "compare.title": "Чи на обох світлинах той самий вид одягу?", "compare.text": "Покладіть по світлині з кожного боку або виберіть.",
    "compare.same": "той самий вид", "compare.distance": "відстань між векторами", "compare.a": "Перша світлина", "compare.b": "Друга світлина",
    "measure.cosine": "косинусна схожість", "measure.class-product": "імовірність одного класу", "measure.class-distance": "відстань між класами",
    gone: "Цієї світлини вже немає в цьому браузері; виберіть її знову.", "code.busy": "Сервер зайнятий; спробуйте трохи згодом.",
    "code.item": "Такої речі немає (або вже немає).", "code.token": "Це не ключ доступу до цього сервера.", "code.image": "Це не вдалося прочитати як зображення. Годяться JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC і AVIF.",
    "code.too-large": "Файл завеликий.", "code.timeout": "Це тривало надто довго; спробуйте ще раз.",
    "code.input": "Сервер не приймає такого запиту.", "code.malformed": "Сервер не може прочитати цей запит.",
    "code.map": "Мапу не вдалося обчислити або зберегти.", "code.catalogue": "Колекцію зараз не вдається відкрити.",
    "code.model": "Нейромережею зараз не можна скористатися.", "code.storage": "На диску сервера бракує місця, або запис туди заборонено.",
    "code.not-found": "За цією адресою нічого немає.", "code.slow": "Світлина надходила надто довго; надішліть меншу.",
    "code.no-token": "Цей сервер запущено без ключа доступу; нічого змінити не можна.",
    "code.internal": "Сервер не зміг на це відповісти.",
    "map.keys": "Мапа колекції. Стрілки пересувають її, плюс і мінус змінюють масштаб, 0 показує все, Enter шукає схоже на те, що посередині.",
    "map.nearer": "Ближче", "map.farther": "Далі", "map.all": "Усе", "map.lasso": "Ласо", "map.computing": "Мапа обчислюється: {share}",
    "map.export": "Зберегти як CSV", "map.drop": "Зняти виділення", "map.selected": ["Вибрано {n}", "Вибрано {n}", "Вибрано {n}"],
    "map.only": "Лише ці", "map.back": ["Показано лише {n}: показати все", "Показано лише {n}: показати все", "Показано лише {n}: показати все"],
    "map.by": "Колір", "map.by.class": "клас", "map.by.confidence": "певність",
    "map.confidence.text": "Стільки з 15 найближчих мають той самий клас", "map.agree": "{agree} з {of} найближчих — того самого класу",
    "map.others": ["ще {n} клас", "ще {n} класи", "ще {n} класів"],
    "map.sure": ["Вилучити {n} річ?", "Вилучити {n} речі?", "Вилучити {n} речей?"],
  },
  ru: {
    skip: "Перейти к содержимому",
    "nav.search": "Поиск", "nav.compare": "Сравнение", "nav.map": "Карта",
    "settings.language": "Язык", "settings.theme": "Светлая / тёмная", "settings.unlock": "Разрешить изменения", "settings.lock": "Запретить изменения",
    items: ["вещь", "вещи", "вещей"],
    away: "Сервер не отвечает. Пробуем ещё…", back: "Сервер снова отвечает.", wrong: "На этой странице что-то пошло не так; перезагрузите её.",
    "welcome.title": "Что это и что на это похоже?",
    "welcome.text": "Перетащите фотографию одежды в любое место страницы, вставьте её, выберите файл или сделайте снимок. Её получает только этот сервер.",
    choose: "Выбрать фотографию", take: "Сделать снимок", "welcome.begin": "Или начните с чего-нибудь из коллекции", another: "Другие",
    asked: "Ваша фотография", crop: "Обведите рамкой то, что имеете в виду. Стрелки двигают её, с Shift меняют размер, Escape убирает.",
    "crop.tip": "На фотографии несколько вещей? Обведите одну рамкой.", "crop.begin": "Нарисовать рамку", "crop.off": "Вся фотография",
    unknown: ["Не похоже ни на один из классов, которые знает нейросеть ({n}).", "Не похоже ни на один из {n} классов, которые знает нейросеть.", "Не похоже ни на один из {n} классов, которые знает нейросеть."],
    probabilities: "Что это", nearest: "Ближе всего к этому", saw: "Что увидела нейросеть", "saw.text": "{size}, оттенки серого: обрезано, уменьшено, на чёрном.",
    "saw.colour": "{size}, в цвете: уменьшено; ровный фон отрезается.",
    why: "Почему?", "why.wait": "Смотрим…", "why.nowhere": "Ни одно место не весило больше других.",
    "why.said": "Чтобы сказать «{label}», нейросеть смотрела в основном {place}. Жёлтое весит больше всего, фиолетовое — мало, без цвета — ничего.",
    "why.unknown": "Это не похоже ни на один из классов; то, что напомнило нейросети «{label}», — в основном {place}. Жёлтое весит больше всего, фиолетовое — мало, без цвета — ничего.",
    "why.0": "вверху слева", "why.1": "вверху", "why.2": "вверху справа", "why.3": "слева", "why.4": "посередине", "why.5": "справа", "why.6": "внизу слева", "why.7": "внизу", "why.8": "внизу справа",
    fromItem: "Вещь из коллекции", class: "Класс", noClass: "без класса",
    likes: "Похожее", threshold: "Сходство от", all: "Все классы", more: "Показать ещё", none: "Настолько похожего нет. Снизьте порог или покажите все классы.",
    found: ["{n} похожая вещь", "{n} похожие вещи", "{n} похожих вещей"],
    from: "Искать похожее на это", like: "Больше похожего на это", unlike: "Меньше похожего на это", with: "Сравнить с этим", remove: "Удалить из коллекции",
    drop: "Убрать из запроса", score: "сходство {score}", past: "Раньше", forget: "Забыть",
    add: "Добавить в коллекцию", "add.text": "Класс, если он есть:", added: "Добавлено: вещь № {id}.", there: "Это уже есть в коллекции: вещь № {id}.",
    "remove.sure": "Удалить вещь № {id}?", "remove.text": "Она исчезнет из каталога «{name}». Файл, из которого она взята, останется.", removed: "Вещь № {id} удалена.",
    yes: "Да", no: "Отмена",
    "unlock.title": "Добавлять и удалять вещи", "unlock.text": "Ключ доступа, с которым запущен сервер (vitrine serve --token):", "unlock.field": "Ключ доступа",
    "compare.title": "На обеих фотографиях один и тот же вид одежды?", "compare.text": "Положите по фотографии с каждой стороны или выберите.",
    "compare.same": "тот же вид", "compare.distance": "расстояние между векторами", "compare.a": "Первая фотография", "compare.b": "Вторая фотография",
    "measure.cosine": "косинусное сходство", "measure.class-product": "вероятность одного класса", "measure.class-distance": "расстояние между классами",
    gone: "Этой фотографии уже нет в этом браузере; выберите её снова.", "code.busy": "Сервер занят; попробуйте чуть позже.",
    "code.item": "Такой вещи нет (или уже нет).", "code.token": "Это не ключ доступа к этому серверу.", "code.image": "Это не удалось прочитать как изображение. Подходят JPEG, PNG, WebP, BMP, GIF, TIFF, HEIC и AVIF.",
    "code.too-large": "Файл слишком большой.", "code.timeout": "Это заняло слишком много времени; попробуйте ещё раз.",
    "code.input": "Сервер не принимает такой запрос.", "code.malformed": "Сервер не может прочитать этот запрос.",
    "code.map": "Карту не удалось вычислить или сохранить.", "code.catalogue": "Коллекцию сейчас не удаётся открыть.",
    "code.model": "Нейросетью сейчас нельзя воспользоваться.", "code.storage": "На диске сервера не хватает места, или запись туда запрещена.",
    "code.not-found": "По этому адресу ничего нет.", "code.slow": "Фотография пересылалась слишком долго; отправьте поменьше.",
    "code.no-token": "Этот сервер запущен без ключа доступа; ничего изменить нельзя.",
    "code.internal": "Сервер не смог на это ответить.",
    "map.keys": "Карта коллекции. Стрелки двигают её, плюс и минус меняют масштаб, 0 показывает всё, Enter ищет похожее на то, что посередине.",
    "map.nearer": "Ближе", "map.farther": "Дальше", "map.all": "Всё", "map.lasso": "Лассо", "map.computing": "Карта вычисляется: {share}",
    "map.export": "Сохранить как CSV", "map.drop": "Снять выделение", "map.selected": ["Выбрано {n}", "Выбрано {n}", "Выбрано {n}"],
    "map.only": "Только эти", "map.back": ["Показано только {n}: показать всё", "Показано только {n}: показать всё", "Показано только {n}: показать всё"],
    "map.by": "Цвет", "map.by.class": "класс", "map.by.confidence": "уверенность",
    "map.confidence.text": "Столько из 15 ближайших имеют тот же класс", "map.agree": "{agree} из {of} ближайших — того же класса",
    "map.others": ["ещё {n} класс", "ещё {n} класса", "ещё {n} классов"],
    "map.sure": ["Удалить {n} вещь?", "Удалить {n} вещи?", "Удалить {n} вещей?"],
  },
};

let now = "en";

/** The language that was chosen last, else the browser's first that there is, else English. */
export function preferred() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("vitrine.language");
  } catch {
    // nothing is kept
  }
  const wanted = [chosen, ...(navigator.languages ?? [])].map((one) => one?.slice(0, 2));
  return wanted.find((one) => LANGUAGES.includes(one)) ?? "en";
}

export function speak(language) {
  now = language;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
}

export const language = () => now;

/** Whether there is such a word. */
export const known = (key) => key in WORDS.en;

export function word(key, places = {}) {
  const text = WORDS[now][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, place) => places[place] ?? "");
}

const FORMS = { one: 0, few: 1 };

/** "3 items": the form that goes with the number. */
export function counted(key, n) {
  const forms = WORDS[now][key];
  const form = now === "en" ? (n === 1 ? 0 : 1) : (FORMS[new Intl.PluralRules(now).select(n)] ?? 2);
  return forms[form].replace("{n}", number(n));
}

export const number = (value) => new Intl.NumberFormat(now).format(value);
export const fixed = (value, digits = 3) => new Intl.NumberFormat(now, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
export const percent = (value) => new Intl.NumberFormat(now, { style: "percent", maximumFractionDigits: value > 0.9945 || value < 0.0995 ? 1 : 0 }).format(value);

/** For people, who should not read that anything is certain. */
export function probability(value) {
  if (value > 0.999) return `>\u00a0${percent(0.999)}`;
  return value < 0.001 ? `<\u00a0${percent(0.001)}` : percent(value);
}
