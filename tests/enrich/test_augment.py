import json
import random
import re
from collections import Counter

import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.splits import matching_key
from sentiment_hf.enrich.filters import TextFilter
from sentiment_hf.enrich.generation import BUILT_IN, load_recast
from sentiment_hf.enrich.prompts import ENDING, TEMPLATES, delimited
from sentiment_hf.enrich.rules import RULES
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.setup import load_data
from sentiment_hf.utils.exceptions import InputError
from tests.conftest import ROOT
from tests.enrich.llm_server import TEXT, LlmServer, verdict_of

CHALLENGE = ROOT / "tests" / "data" / "irony_contrast.jsonl"
LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def challenge():
    return pd.read_json(CHALLENGE, lines=True)


def grams(text, length=8):
    key = matching_key(text)
    return {key[start : start + length] for start in range(len(key) - length + 1)}


def test_the_challenge_set_is_in_pairs_and_half_of_it_is_plain(challenge):
    assert len(challenge) >= 200
    assert challenge["text"].map(matching_key).is_unique
    assert (challenge.groupby("pair")["label"].agg(sorted).map(tuple) == LABELS).all()
    pairs = Counter(challenge.drop_duplicates("pair")["kind"])
    assert set(pairs) == {"irony", "contrast", "plain"}
    assert pairs["plain"] * 2 == sum(pairs.values())


def test_templates_and_challenge_set_share_no_eight_characters(challenge):
    of_the_set = set().union(*challenge["text"].map(grams))
    for path in TEMPLATES.glob(f"*{ENDING}"):
        assert not grams(path.read_text(encoding="utf-8")) & of_the_set, path.name


@pytest.mark.parametrize("name", BUILT_IN)
def test_templates_name_the_label_that_they_ask_for(name):
    recast = load_recast(name, LABELS)
    words = {"negative": "负面", "positive": "正面"}
    for given, target in recast.labels.items():
        values = {
            "text": delimited("早餐一般"),
            "label": words[given],
            "target": words[target],
            "target_name": target,
            "labels": list(words.values()),
        }
        prompt = recast.template.render(**values)
        assert words[target] in prompt
        assert "<text>早餐一般</text>" in prompt
        assert "labels:" not in prompt
    assert load_recast(name, LABELS).digest == recast.digest


def test_templates_with_mistakes(tmp_path):
    path = tmp_path / "mine.jinja"
    rule = "{#\nlabels: same\nrows: any\n#}\n"
    for source, message in (
        ("{{ text }}", "a rule with labels and rows at the head of mine.jinja"),
        ("{# labels: [ #}{{ text }}", "a rule with labels and rows"),
        ("{#\nlabels: same\nrows: some\n#}{{ text }}", "a rule with labels and rows"),
        ("{#\nlabels: same\nrows: any\nmore: 1\n#}{{ text }}", "a rule with labels and rows"),
        (
            "{#\nlabels: {negative: angry}\nrows: any\n#}{{ text }}",
            "labels negative, positive in .*, found angry",
        ),
        (rule + "{{ txt }} {{ lable }}", "variables text, label, target, target_name, labels in .*, found lable, txt"),
        (rule + "{{ label }}", "the variable text in .*, found none"),
        (rule + "{{ text", "a Jinja template in .* in line"),
    ):
        path.write_text(source, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load_recast(str(path), LABELS)
    path.write_bytes((rule + "房间 {{ text }}").encode("gb18030"))
    with pytest.raises(InputError, match="UTF-8 in .*, found something else at byte"):
        load_recast(str(path), LABELS)
    with pytest.raises(InputError, match="templates irony, negation"):
        load_recast("ironic", LABELS)


def test_what_repeats_part_of_an_evaluation_text_is_refused():
    evaluation = OverlapIndex(["房间很脏，服务很差", "不错", "早餐的种类很多，味道也都还可以"], 13, 6)
    for text, match in (
        ("房间很脏服务很差！", "equal"),
        ("说真的，房间很脏，服务很差，不推荐", "near"),
        ("房间很脏，服务不差", None),
        ("真不错", None),
        ("这家早餐的种类很多，味道也都还可以的", "near"),
    ):
        assert evaluation.match(matching_key(text)) == match, text
    assert OverlapIndex(["房间很脏，服务很差"], 13).match(matching_key("说真的，房间很脏，服务很差")) is None


def test_evaluation_files_are_read_in_the_column_that_was_named(files, tmp_path, reviews, capsys):
    """And rows that stand in one of them are left out before anything is made of them."""
    rows = reviews.head(30).rename(columns={"text": "评价"}).assign(content="另一列的文字")
    # A short one of the evaluation stands whole in a longer row; the others are longer than a shingle.
    place = next(place for place in range(5) if 6 <= len(matching_key(rows["评价"][place])) < 13)
    short = rows["评价"][place]
    rows["评价"] = "住过才知道，" + rows["评价"]
    rows.loc[[place, 29], "评价"] = [short, f"他说{short}我信"]
    rows.iloc[:10].to_csv(tmp_path / "validation.csv", index=False, encoding="gb18030")
    # Half of them stand there with something added.
    rows.loc[5:9, "评价"] += "真的"
    rows.to_csv(tmp_path / "train.csv", index=False)
    words = [*files, "--text_column", "评价", "--rules", "synonym", "delete", "swap"]
    words += ["--output_dir", str(tmp_path / "out")]
    assert main(words) == 0
    report = json.loads((tmp_path / "out" / "augment.json").read_text(encoding="utf-8"))
    assert (report["rows_in_evaluation"], report["source_rows"]) == (11, 19)
    written = pd.read_json(tmp_path / "out" / "augmented.jsonl", lines=True)
    assert written["source_row"].min() > 10
    rows.to_csv(tmp_path / "validation.csv", index=False)
    assert main(words) == 2
    assert "rows that stand in no evaluation file" in capsys.readouterr().err


def test_rules_change_some_characters_and_never_a_negation():
    text = "酒店的房间不干净，前台没有人，早餐也别想吃到。"
    for name, rule in RULES.items():
        if name == "homophone":
            pytest.importorskip("pypinyin", reason="needs the enrich extra")
        changed = {rule(text, random.Random(seed)) for seed in range(20)}
        assert len(changed - {text}) > 5, name
        assert {rule(text, random.Random(3)) for _ in range(2)} == {rule(text, random.Random(3))}
        for other in changed:
            assert re.findall("[不没别]", other) == re.findall("[不没别]", text), name
            same_length = name in ("swap", "homophone")
            assert (Counter(other) == Counter(text)) is (name == "swap" or other == text), name
            assert not same_length or len(other) == len(text)
        assert rule("ok 123", random.Random(0)) == "ok 123"


def test_homophones_sound_the_same():
    pinyin = pytest.importorskip("pypinyin", reason="needs the enrich extra").pinyin
    text = "房间又脏又旧"
    for seed in range(10):
        other = RULES["homophone"](text, random.Random(seed))
        changed = [place for place in range(len(text)) if text[place] != other[place]]
        assert [pinyin(text[place]) for place in changed] == [pinyin(other[place]) for place in changed]
        assert len(changed) == 1


def test_the_filter_says_why():
    evaluation = OverlapIndex(["前台的服务员态度恶劣，问什么都不理人", "差"], 8)
    texts = TextFilter(evaluation, ["早餐非常好"], min_length=3, max_length=30)
    reasons = [
        texts.refuse(text)
        for text in (
            "好",
            "字" * 31,
            "the room is too noisy 吵",
            "12345",
            "真的好好，" * 5,
            "我说前台的服务员态度恶劣得很",
            "早餐，非常好！",
            "窗外有海",
            "窗外有海。",
        )
    ]
    length, language = "too short or too long", "another language"
    assert reasons == [
        length,
        length,
        language,
        language,
        "says the same over and over",
        "near to an evaluation text",
        "repeated",
        None,
        "repeated",
    ]
    assert texts.counts["passed"] == 1
    with pytest.raises(InputError, match="lengths that leave room"):
        TextFilter(evaluation, min_length=5, max_length=4)


def write(body):
    """What the test's model writes: the source with a twist, as the template asks for it."""
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    if "verdict" in properties:
        return verdict_of(body)
    prompt = body["messages"][-1]["content"]
    source = TEXT.findall(prompt)[-1].rstrip("。")
    if "阴阳怪气" in prompt:
        return json.dumps({"text": f"<text>“这{source}，真是谢谢了”</text>"}, ensure_ascii=False)
    if "否定词" in prompt:
        # The judge of the test goes by the words of praise, which stay: every other one of these is refused.
        return json.dumps({"text": f"并没有{source}"}, ensure_ascii=False)
    fields = {"reasons": "先看用词，\n再看语气"} if "reasons" in properties else {}
    return json.dumps(fields | {"text": f"说到底，{source}"}, ensure_ascii=False)


@pytest.fixture
def files(tmp_path, reviews):
    reviews.head(30).to_csv(tmp_path / "train.csv", index=False)
    reviews.iloc[30:60].to_csv(tmp_path / "validation.csv", index=False)
    evaluation = ["--evaluation", str(CHALLENGE), str(tmp_path / "validation.csv")]
    return ["data", "augment", "--task", "reviews", "--data", str(tmp_path / "train.csv"), *evaluation]


def test_the_command_with_a_language_model(files, tmp_path, model_folder, reviews, capsys):
    out = tmp_path / "out"
    predictions = SentimentClassifier.from_pretrained(model_folder)(reviews["text"][:30], top_k=2)
    margins = [one.top[0][1] - one.top[1][1] for one in predictions]
    limit = sorted(margins)[15]
    with LlmServer(write) as server:
        words = [*files, "--llm", "tiny", "--base_url", server.base_url, "--output_dir", str(out)]
        asked = [*words, "--model", str(model_folder), "--ambiguity", f"{limit + 1e-6}", "--rows", "10"]
        asked += ["--templates", "irony", "negation", "reasons", "--weight", "0.25", "--examples", "9"]
        assert main(asked) == 0
        prompts = [
            ("verdict" in body["response_format"]["json_schema"]["schema"]["properties"], TEXT.findall(prompt))
            for body in server.bodies
            for prompt in [body["messages"][-1]["content"]]
        ]
    # The judge has seen none of the rows that something was written for.
    sources = {texts[-1] for is_judged, texts in prompts if not is_judged}
    shown = {text for is_judged, texts in prompts if is_judged for text in texts[:-1]}
    assert len(sources) == 10
    assert shown
    assert not sources & shown
    rows = pd.read_json(out / "augmented.jsonl", lines=True)
    refused = pd.read_json(out / "refused.jsonl", lines=True)
    report = json.loads((out / "augment.json").read_text(encoding="utf-8"))
    source = reviews["text"].tolist()
    names = rows["template"].str.split("@").str[0]
    assert set(names) == {"irony", "reasons"}
    # Ironic rows come from complaints alone, and marks and quotes are gone.
    assert (rows.loc[names == "irony", "label"] == "negative").all()
    first = rows[names == "irony"].iloc[0]
    assert first["text"] == f"这{source[first['source_row'] - 1].rstrip('。')}，真是谢谢了"
    assert (rows.loc[names == "reasons", "explanation"] == "先看用词， 再看语气").all()
    # Reasons are asked for where the classifier is unsure, and there alone.
    doubtful = {row for row in refused["source_row"] if margins[row - 1] <= limit}
    assert set(rows.loc[names == "reasons", "source_row"]) == doubtful
    assert 0 < len(doubtful) < 10
    assert rows["weight"].eq(0.25).all()
    assert rows["model"].eq("tiny").all()
    assert rows["prompt_hash"].str.len().eq(12).all()
    assert report["written"] == len(rows) + len(refused)
    assert report["passed"] == len(rows) == sum(report["by_label"].values())
    # What the judge calls something else than the rule is no training row.
    assert refused["refused"].eq("the judge says otherwise").all()
    assert set(refused["template"].str.split("@").str[0]) == {"negation"}
    assert len(refused) == 10
    assert "refused: the judge says otherwise 10" in capsys.readouterr().out


def test_the_command_without_a_language_model(files, tmp_path, reviews, capsys):
    pytest.importorskip("pypinyin", reason="needs the enrich extra")
    words = [*files, "--rules", *RULES, "--shingle_length", "40"]
    assert main([*words, "--output_dir", str(tmp_path / "a")]) == 0
    assert main([*words, "--output_dir", str(tmp_path / "b")]) == 0
    lines = (tmp_path / "a" / "augmented.jsonl").read_text(encoding="utf-8")
    assert lines == (tmp_path / "b" / "augmented.jsonl").read_text(encoding="utf-8")
    assert main([*words, "--seed", "7", "--output_dir", str(tmp_path / "c")]) == 0
    assert lines != (tmp_path / "c" / "augmented.jsonl").read_text(encoding="utf-8")
    rows = pd.read_json(tmp_path / "a" / "augmented.jsonl", lines=True)
    assert set(rows["template"]) == set(RULES)
    labels = reviews["label"].tolist()
    assert [labels[row - 1] for row in rows["source_row"]] == rows["label"].tolist()
    keys = {matching_key(text) for text in reviews["text"].iloc[30:60]}
    assert not keys & set(rows["text"].map(matching_key))
    capsys.readouterr()
    for change, message in (
        (["--rules"], "argument --rules"),
        (["--weight", "0"], "a weight above 0"),
        (["--templates", "irony"], "--llm with --templates"),
        (["--evaluation", str(tmp_path / "none.csv")], "nothing there"),
        (["--ambiguity", "2"], "an ambiguity from 0 to 1"),
        (["--rows", "0"], "rows and shingle_length"),
    ):
        try:
            status = main([*words, *change, "--output_dir", str(tmp_path / "refused")])
        except SystemExit as error:
            status = error.code
        assert status == 2
        assert message in capsys.readouterr().err
    nobody = [*files, "--llm", "tiny", "--base_url", "http://localhost:9/v1", "--templates", "reasons"]
    assert main([*nobody, "--output_dir", str(tmp_path / "refused")]) == 2
    assert "--model with the template reasons" in capsys.readouterr().err
    assert main([*files, "--output_dir", str(tmp_path / "refused")]) == 2
    assert "a language model or rules" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()


def test_a_local_model_writes_too(files, tmp_path, llm_folder):
    words = [*files, "--llm", str(llm_folder), "--rows", "3", "--templates", "comparison", "--judge", "off"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "augment.json").read_text(encoding="utf-8"))
    assert report["written"] == report["source_rows"] == 3
    assert report["passed"] + sum(report["refused"].values()) == 3
    assert report["usage"]["completion_tokens"] > 0


def test_written_rows_join_the_training_rows_alone(files, tmp_path, tiny_arguments):
    words = [*files, "--rules", "delete", "swap", "--weight", "0.25", "--output_dir", str(tmp_path / "more")]
    assert main(words) == 0
    written = pd.read_json(tmp_path / "more" / "augmented.jsonl", lines=True)
    source = tmp_path / "more" / "augmented.jsonl"
    args = parse_run_arguments([*tiny_arguments, f"--supplement={{source: {source}}}"])
    data = load_data(args)
    assert set(data.made_splits) == {"validation", "test"}
    train = data.splits["train"]
    added = train[train["weight"] == 0.25]
    assert 0 < len(added) <= len(written)
    assert data.audit["supplement"]["share"] == pytest.approx(len(added) / len(train), abs=1e-4)
    keys = set(written["text"].map(matching_key))
    for split in ("validation", "test"):
        assert not keys & set(data.splits[split]["text"].map(matching_key))
        assert "weight" not in data.splits[split].columns


def test_templates_of_a_task_without_praise_and_blame(tmp_path, reviews):
    rows = pd.DataFrame({"text": reviews["text"].head(8), "label": ["sad", "happy"] * 4})
    rows.to_csv(tmp_path / "train.csv", index=False)
    reviews.tail(5).to_csv(tmp_path / "validation.csv", index=False)
    words = [
        "data",
        "augment",
        "--task",
        "emotion",
        "--data",
        str(tmp_path / "train.csv"),
        "--llm",
        "tiny",
        "--judge",
        "off",
    ]

    def parrot(body):
        """A small model, which says an example of the template over again where it knows no better."""
        if rows["text"][0] not in body["messages"][-1]["content"]:
            return write(body)
        return json.dumps({"text": "真的，新店从进门到结账都有人照应，差距一下子就看出来了"}, ensure_ascii=False)

    with LlmServer(parrot) as server:
        words += ["--evaluation", str(tmp_path / "validation.csv"), "--base_url", server.base_url]
        assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
        assert "属于悲伤" in server.bodies[0]["messages"][-1]["content"] + server.bodies[1]["messages"][-1]["content"]
    written = pd.read_json(tmp_path / "out" / "augmented.jsonl", lines=True)
    assert set(written["template"].str.split("@").str[0]) == {"comparison"}
    assert set(written["label"]) == {"sad", "happy"}
    assert 1 not in set(written["source_row"])
    refused = pd.read_json(tmp_path / "out" / "refused.jsonl", lines=True)
    assert refused[["source_row", "refused"]].to_numpy().tolist() == [[1, "repeats the template"]]
