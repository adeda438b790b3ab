"""All texts of the demo page, in Chinese and English, and its example inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

# ASAP's aspects by what they are about, each in Chinese and in English.
ASPECTS: dict[str, dict[str, tuple[str, str]]] = {
    "location": {
        "location_traffic": ("交通便利", "traffic"),
        "location_distance_from_business_district": ("商圈距离", "downtown"),
        "location_easy_to_find": ("容易寻找", "easy to find"),
    },
    "service": {
        "service_wait_time": ("排队等候", "queue"),
        "service_waiters_attitude": ("服务态度", "hospitality"),
        "service_parking_convenience": ("停车方便", "parking"),
        "service_serving_speed": ("上菜速度", "serving speed"),
    },
    "price": {
        "price_level": ("价格水平", "price level"),
        "price_cost_effective": ("性价比", "value"),
        "price_discount": ("折扣力度", "discount"),
    },
    "environment": {
        "environment_decoration": ("装修", "decoration"),
        "environment_noise": ("噪音", "noise"),
        "environment_space": ("空间", "space"),
        "environment_cleaness": ("卫生", "cleanliness"),
    },
    "dish": {
        "dish_portion": ("分量", "portion"),
        "dish_taste": ("口味", "taste"),
        "dish_look": ("外观", "appearance"),
        "dish_recommendation": ("推荐", "recommended"),
    },
}


@dataclass(frozen=True)
class Wording:
    """The page in one language; names in braces are filled in."""

    language: str
    title: str
    introduction: str
    sentence: str
    article: str
    review: str
    file: str
    text: str
    text_hint: str
    ask: str
    examples: str
    model: str
    upload: str
    text_column: str
    text_column_hint: str
    download: str
    preview: str
    done: str
    file_first: str
    file_fails: str
    table_note: str
    empty: str
    too_long: str
    fails: str
    abstains: str
    why: str
    speaks_for: str
    speaks_against: str
    log_odds: str
    top_chunks: str
    chunks_read: str
    chunk_of: str
    characters: str
    stars: str
    mentioned: str
    reading: str
    reasons: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    aspects: dict[str, str] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Name a label as readers call it; one that the page does not know keeps its name."""
        return self.labels.get(name, name)

    def reason(self, reason: str | None) -> str:
        """Why there is no prediction."""
        return self.reasons.get(reason or "", reason or self.fails)

    def chunk(self, chunk_idx: int, num_chunks: int) -> str:
        """Say a chunk's place, counted from 1."""
        return self.chunk_of.format(number=chunk_idx + 1, count=num_chunks)


CHINESE = Wording(
    language="zh",
    title="中文文本分类",
    introduction="输入文字，看模型的判断和依据。结果由模型给出，可能有错。",
    sentence="一句话",
    article="一篇文章",
    review="餐厅点评",
    file="文件",
    text="文本",
    text_hint="在这里输入或粘贴中文文本",
    ask="分析",
    examples="点击示例",
    model="模型",
    upload="csv、tsv、xlsx 或 jsonl 文件（最大 {size} MB，{rows:,} 行）",
    text_column="文本所在列",
    text_column_hint="留空则自动识别，如 text、review、评论",
    download="下载结果",
    preview="结果（前 {rows} 行）",
    done="共 {rows:,} 行，已全部处理。",
    file_first="请先上传文件。",
    file_fails="无法处理这个文件：",
    table_note="可能被电子表格当作公式的单元格前会加上单引号。",
    empty="请先输入文本。",
    too_long="文本有 {found:,} 个字符，这里最多 {limit:,} 个。请缩短后再试。",
    fails="出错了，没有得到结果。错误已记录，请换一段文本或稍后再试。",
    abstains="模型不作判断：最可能的标签只有 {probability:.1%}，低于阈值 {threshold:.1%}。",
    why="支持与反对「{label}」的词语",
    speaks_for="支持",
    speaks_against="反对",
    log_odds="遮住一个词，看判断如何变化；颜色越深，影响越大。",
    top_chunks="最能说明「{label}」的片段",
    chunks_read="模型读了 {count} 个片段；颜色越深，越支持这个标签。",
    chunk_of="第 {number}/{count} 个片段",
    characters="第 {start:,}–{end:,} 字",
    stars="{rating} 星（期望 {expected:.1f}）",
    mentioned="{all} 个方面中提到 {count} 个；条形向左为负面，向右为正面，长度表示概率。",
    reading="正在读取",
    reasons={
        "missing text": "没有文本。",
        "empty text": "请先输入文本。",
        "no text left after cleaning": "清理网址、标签等之后没有剩下文字。",
    },
    labels={
        "positive": "正面",
        "negative": "负面",
        "neutral": "中性",
        "angry": "愤怒",
        "happy": "高兴",
        "sad": "悲伤",
        "fear": "恐惧",
        "surprise": "惊讶",
    },
    groups={"location": "位置", "service": "服务", "price": "价格", "environment": "环境", "dish": "菜品"},
    aspects={name: chinese for names in ASPECTS.values() for name, (chinese, _) in names.items()},
)
ENGLISH = Wording(
    language="en",
    title="Chinese text classification",
    introduction="Type Chinese text and see what the model predicts and why. Its predictions may be wrong.",
    sentence="A sentence",
    article="An article",
    review="A restaurant review",
    file="A file",
    text="Text",
    text_hint="Type or paste Chinese text here",
    ask="Classify",
    examples="Examples to click",
    model="Model",
    upload="A csv, tsv, xlsx or jsonl file (at most {size} MB and {rows:,} rows)",
    text_column="Column with the text",
    text_column_hint="empty: the first with a usual name, such as text or review",
    download="Download the predictions",
    preview="Predictions (first {rows} rows)",
    done="All {rows:,} rows are classified.",
    file_first="Upload a file first.",
    file_fails="This file cannot be read: ",
    table_note="Cells that a spreadsheet would calculate get an apostrophe in front.",
    empty="Type a text first.",
    too_long="The text has {found:,} characters, and at most {limit:,} are taken here. Shorten it.",
    fails="Something went wrong and there is no prediction. It has been logged; try another text, or later.",
    abstains="The model abstains: its best label has {probability:.1%}, below the threshold of {threshold:.1%}.",
    why="Words for and against “{label}”",
    speaks_for="for it",
    speaks_against="against it",
    log_odds="Each word was hidden once to see what changes; the stronger the colour, the larger the change.",
    top_chunks="What speaks most for “{label}”",
    chunks_read="The model read {count} chunks; the stronger the colour, the more a chunk speaks for the label.",
    chunk_of="chunk {number} of {count}",
    characters="characters {start:,} to {end:,}",
    stars="{rating} of 5 stars (expected {expected:.1f})",
    mentioned="{count} of {all} aspects are mentioned; bars to the left are negative, to the right positive, "
    "and as long as the model is sure.",
    reading="Reading",
    reasons={
        "missing text": "There is no text.",
        "empty text": "Type a text first.",
        "no text left after cleaning": "Nothing is left of the text without addresses, tags and the like.",
    },
    groups={
        "location": "Location",
        "service": "Service",
        "price": "Price",
        "environment": "Environment",
        "dish": "Dishes",
    },
    aspects={name: english for names in ASPECTS.values() for name, (_, english) in names.items()},
)

SENTENCES: dict[str, tuple[str, ...]] = {
    "reviews": (
        "房间干净，服务也很热情，下次还住这里",
        "房间很吵，再也不来了",
        "屏幕不错，就是电池不耐用，有点失望",
        "物流很快，孩子很喜欢",
    ),
    "emotion": ("终于拿到通知书了，开心！", "等了三个小时还没人理，太过分了", "一个人走夜路，总觉得后面有人"),
}
# For a task that the page has no sentences for.
ANY_SENTENCES = ("国足昨晚客场两球落后后连扳三球", "央行宣布下调存款准备金率", "这款手机的屏幕和续航都有提升")
LONG_TEXTS: dict[str, tuple[str, ...]] = {
    "reviews": (
        "这次出差住了四晚，先说地点：离地铁站步行五分钟，楼下就有便利店和早点铺，位置没得说。前台办理入住很快，还主动帮忙升级了房型，"
        "服务员每天打扫得干干净净，水果也会补上。\n\n早餐种类很多，现做的面条尤其好吃，孩子连吃了两碗。健身房和游泳池都免费，设施也新。"
        "\n\n不满意的地方也有。房间临街，半夜还能听见卡车的声音，隔音实在太差，第二天只好换房。空调有一股霉味，打了两次电话才有人来修，"
        "态度还不耐烦。退房时多算了一瓶水的钱，解释了半天才退。\n\n总的来说，位置和早餐值得推荐，如果能把隔音和空调修好，下次还会住这里。",
    ),
}
ARTICLES = (
    "今年夏天来得特别早。城里的老人说，往年这时候还要穿两件衣服。\n\n傍晚，体育场外已经排起长队。主队在联赛中三连胜，"
    "今晚只要再拿一分就能提前夺冠。教练在赛前发布会上说，球员们的状态很好，受伤的前锋也恢复了训练。\n\n比赛第十二分钟，"
    "主队由角球首开纪录。下半场客队换上两名前锋，连续制造威胁，门将三次扑出必进球。终场哨响，比分定格在二比零。\n\n"
    "散场后，附近的小吃摊一直忙到半夜，老板说这一晚卖出的烤串是平时的三倍。",
    "清晨六点，早市已经热闹起来。卖菜的大姐说，最近蔬菜价格涨了两成，买的人却没有少。\n\n上午，交易所开盘，主要股指小幅高开。"
    "分析师认为，降低存款准备金率释放了流动性，银行和地产板块率先上涨，但企业盈利的恢复还需要时间。\n\n"
    "午后成交量有所放大，债券收益率回落。多家基金公司表示，会继续关注通胀数据和下月的利率决定。",
)
REVIEWS = (
    "地铁口出来走两分钟就到，位置很好找。周末人多，排队等了四十分钟，不过服务员一直很热情地递水。水煮鱼分量足，又麻又香，"
    "装修也有特色，就是桌子挨得太近，有点吵。人均八十，性价比不错，会推荐给朋友。",
    "价格不便宜，菜量却很少，味道一般，上菜还慢，催了三次。店里倒是干净。不会再来了。",
)
