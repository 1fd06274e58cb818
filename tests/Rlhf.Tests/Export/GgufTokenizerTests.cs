using System.Text.Json.Nodes;
using Rlhf.Export;
using Rlhf.Export.Gguf;
using Rlhf.LlamaCpp;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Tests.Export;

/// <summary>Tokenizers as GGUF, opened by llama.cpp: the same ids for the same texts.</summary>
public sealed class GgufTokenizerTests
{
    /// <summary>Boundaries of all kinds; nothing that the fixtures' tokens strip white space beside, and nothing outside NFC.</summary>
    private static readonly string[] Texts =
    [
        "", " ", "Hello world", " leading", "trailing ", "two  spaces", "three   spaces   here", "line\nbreak", "\n\n", "a\r\nb\t\tc", "\u00a0nbsp",
        "it's we'll I'M YOU'RE he'd they've can't", "3 33 333 3333 33333 1234567", "3.14 + 1,000.50 = ?", "x=1;y[2]--", "!!! ... ???", "(normal) {code} [x]",
        "caf\u00e9 na\u00efve \u00fcber", "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438", "\u6211\u60f3\u5728apple\u5de5\u4f5c1314151\u5929", "\ud83d\ude80 \ud83d\ude36\u200d\ud83c\udf2b\ufe0f \u2705 \ud83e\udd99\ud83e\udd99",
        "\u1780\u17b6\u1793\u17cb\u178f\u17c2\u1796\u17b7\u179f\u17c1\u179f", "CamelCaseWord HTTPServer iPhone", "the cat and the dog", "snake_case_name __init__", "<|im_start|>user\nHi<|im_end|>\n",
        "<think>so</think>", "a<|im_end|>b", "\u00bd \u00b2 \u2168", "'tis 'Twas", "foo\u2028bar", "tab\tin\tit  \n  end",
    ];

    public static TheoryData<string, string> Rules() => new()
    {
        { "hard-llama3", "llama-bpe" }, { "hard-gpt2", "gpt-2" }, { "hard-qwen", "qwen2" }, { "hard-smollm", "smollm" }, { "hard-gpt4o", "gpt-4o" },
        { "hard-cl100k", "dbrx" }, { "hard-three-splits", "deepseek-v3" }, { "byte-llama3", "llama-bpe" }, { "byte-qwen", "qwen2" }, { "byte-smollm", "smollm" },
    };

    [Theory]
    [MemberData(nameof(Rules))]
    public void ByteLevelTokenizersGiveTheSameIds(string name, string rule)
    {
        var (tokenizer, answers, _) = Ask(ExportModels.Tokenizer(name));
        Assert.Equal(rule, answers.Metadata["tokenizer.ggml.pre"]);
        AssertSame(tokenizer, answers);
    }

    /// <summary>What transformers gave for the real vocabularies' texts is what llama.cpp gives.</summary>
    [Theory]
    [InlineData("gpt2", "gpt-2", "3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454")]
    [InlineData("llama3", "llama-bpe", null)] // whose published hash is with a begin token
    [InlineData("qwen3", "qwen2", "e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea")]
    [InlineData("deepseek_v3", "deepseek-v3", null)] // as well
    public void PublishedTokenizersGiveTheSameIds(string name, string rule, string? hash)
    {
        string folder = Fixtures.Shared("tokenizers", name);
        if (hash is not null)
            Assert.Equal(hash, GgufPreTokenizer.HashOf(AutoTokenizer.FromPretrained(folder)));
        var (tokenizer, answers, _) = Ask(folder);
        Assert.Equal(rule, answers.Metadata["tokenizer.ggml.pre"]);
        AssertSame(tokenizer, answers);
    }

    [Theory]
    [InlineData("llama2")]
    [InlineData("gemma3")]
    public void PublishedSentencePieceVocabulariesGiveTheSameIds(string name)
    {
        var (tokenizer, answers, _) = Ask(Fixtures.Shared("tokenizers", name));
        Assert.Equal("llama", answers.Metadata["tokenizer.ggml.model"]);
        AssertSame(tokenizer, answers);
    }

    /// <summary>A vocabulary whose merges are what SentencePiece's scores make of it: every way to make a token, best token first.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SentencePieceVocabulariesGiveTheSameIds(bool prefixes)
    {
        using var folder = new Fixtures.TemporaryFolder();
        WriteSentencePiece(folder.Path, prefixes, allMerges: true);
        var (tokenizer, answers, _) = Ask(folder.Path);
        Assert.Equal("llama", answers.Metadata["tokenizer.ggml.model"]);
        AssertSame(tokenizer, answers);
    }

    [Fact]
    public void MergesThatAreNoSentencePieceVocabularyAreRefused()
    {
        using var folder = new Fixtures.TemporaryFolder();
        WriteSentencePiece(folder.Path, prefixes: true, allMerges: false);
        Refused(folder.Path, "not those of a SentencePiece vocabulary");
    }

    [Theory]
    [InlineData("hard-next", "no rule that splits text into words as this one does")]
    [InlineData("hard-digits", "no rule that splits text into words as this one does")]
    [InlineData("byte-prefix", "add_prefix_space")]
    [InlineData("byte-flags", "Lowercase")]
    [InlineData("unigram-bytes", "has no form in GGUF")]
    [InlineData("wordpiece", "has no form in GGUF")]
    [InlineData("hard-meta-legacy", "not those of a SentencePiece vocabulary")]
    public void TokenizersThatLlamaCppHasNotAreRefused(string name, string why) => Refused(ExportModels.Tokenizer(name), why);

    /// <summary>Begin, end and padding tokens, further tokens that end a text, and ids that no token has.</summary>
    [Fact]
    public void SpecialTokensAndSparseIdsArrive()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        var tokenizer = AutoTokenizer.FromPretrained(ExportModels.Tokenizer("hard-llama3"));
        int end = tokenizer.TokenToId("<|eos|>")!.Value, turn = tokenizer.TokenToId("<|im_end|>")!.Value;
        ExportModels.Write(source, "llama-small", ExportModels.Tokenizer("hard-llama3"), json =>
        {
            json["vocab_size"] = tokenizer.VocabSize + 13;
            json["eos_token_id"] = new JsonArray(end, turn);
        });
        ExportFormats.Of("gguf").Write(new(source, "sparse"), target, new());
        var answers = Llama.Ask(new(target) { Texts = ["a"], Rows = [[5, 6]] });
        Assert.Equal(tokenizer.VocabSize + 13, answers.Logits[0][0].Length);
        Assert.Equal(end, answers.SpecialTokens[1]);
        Assert.Equal(turn, answers.SpecialTokens[3]);
        Assert.Equal("true", answers.Metadata["tokenizer.ggml.add_bos_token"]);
        Assert.Equal("sparse", answers.Metadata["general.name"]);
        Assert.Equal(tokenizer.Encode("a"), answers.Tokens[0]);
    }

    [Fact]
    public void TheChatTemplateArrives()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, "llama-small", ExportModels.Tokenizer("hard-qwen"));
        const string Template = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' }}{% endfor %}";
        ChatTemplate.FromText(Template).Save(source);
        ExportFormats.Of("gguf").Write(new(source, "chatty"), target, new());
        Assert.Equal(Template, Llama.Ask(new(target)).Template);
    }

    private static (ITokenizer Tokenizer, LlamaAnswers Answers, ExportResult Result) Ask(string tokenizer)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "model.gguf");
        ExportModels.Write(source, "llama-small", tokenizer);
        var result = ExportFormats.Of("gguf").Write(new(source, "tokens"), target, new());
        return (AutoTokenizer.FromPretrained(source), Llama.Ask(new(target) { Texts = Texts }), result);
    }

    private static void AssertSame(ITokenizer tokenizer, LlamaAnswers answers)
    {
        var differing = Texts.Zip(answers.Tokens).Where(x => !tokenizer.Encode(x.First).SequenceEqual(x.Second))
            .Select(x => $"{x.First}: {string.Join(' ', tokenizer.Encode(x.First))} and {string.Join(' ', x.Second)}").ToArray();
        Assert.True(differing.Length == 0, $"{differing.Length} of {Texts.Length} texts become other ids: {string.Join("\n", differing)}");
    }

    private static void Refused(string tokenizer, string why)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "out", "model.gguf");
        ExportModels.Write(source, "llama-small", tokenizer);
        var error = Assert.Throws<InvalidDataException>(() => ExportFormats.Of("gguf").Write(new(source, "refused"), target, new()));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.GetDirectoryName(target)));
    }

    /// <summary>A SentencePiece vocabulary in tokenizer.json's form: special tokens, bytes, then pieces with falling scores.</summary>
    private static void WriteSentencePiece(string folder, bool prefixes, bool allMerges)
    {
        const char Space = '\u2581';
        string[] pieces = ["th", "the", "in", "er", "an", "and", $"{Space}t", $"{Space}the", $"{Space}a", $"{Space}and", "re", "on", "at", "he", "ou", "it", "is", "or",
            $"{Space}{Space}", $"{Space}c", "ca", $"{Space}ca", $"{Space}cat", "cat", "ing", "ll", "Hello", "He", "llo", "Hell", "el", "lo", "33", "333", "3333", "word", "wor", "wo", "rd"];
        string letters = Space + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'()[]{}=+-_/<>|";
        List<string> all = ["<unk>", "<s>", "</s>", .. Enumerable.Range(0, 256).Select(b => $"<0x{b:X2}>"), .. letters.Select(c => c.ToString())];
        // A piece is reachable where two others make it.
        foreach (string piece in pieces)
            if (Enumerable.Range(1, piece.Length - 1).Any(at => all.Contains(piece[..at]) && all.Contains(piece[at..])))
                all.Add(piece);
        var vocabulary = all.Index().ToDictionary(x => x.Item, x => x.Index);
        var merges = all.Skip(3 + 256 + letters.Length).SelectMany(piece => Enumerable.Range(1, piece.Length - 1)
            .Select(at => (Left: piece[..at], Right: piece[at..])).Where(m => vocabulary.ContainsKey(m.Left) && vocabulary.ContainsKey(m.Right))
            .OrderBy(m => vocabulary[m.Left]).ThenBy(m => vocabulary[m.Right]).Take(allMerges ? int.MaxValue : 1));
        JsonNode replace = new JsonObject { ["type"] = "Replace", ["pattern"] = new JsonObject { ["String"] = " " }, ["content"] = $"{Space}" };
        var json = new JsonObject
        {
            ["version"] = "1.0",
            ["added_tokens"] = new JsonArray([.. all.Take(3).Select((t, i) => (JsonNode)new JsonObject
            {
                ["id"] = i,
                ["content"] = t,
                ["single_word"] = false,
                ["lstrip"] = false,
                ["rstrip"] = false,
                ["normalized"] = false,
                ["special"] = true,
            })]),
            ["normalizer"] = prefixes ? new JsonObject
            {
                ["type"] = "Sequence",
                ["normalizers"] = new JsonArray(new JsonObject { ["type"] = "Prepend", ["prepend"] = $"{Space}" }, replace),
            } : replace,
            ["pre_tokenizer"] = null,
            ["post_processor"] = null,
            ["decoder"] = null,
            ["model"] = new JsonObject
            {
                ["type"] = "BPE",
                ["unk_token"] = "<unk>",
                ["fuse_unk"] = true,
                ["byte_fallback"] = true,
                ["vocab"] = new JsonObject(vocabulary.Select(v => KeyValuePair.Create(v.Key, (JsonNode?)v.Value))),
                ["merges"] = new JsonArray([.. merges.Select(m => (JsonNode)new JsonArray(m.Left, m.Right))]),
            },
        };
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), json.ToJsonString());
        File.WriteAllText(Path.Combine(folder, "tokenizer_config.json"), """{"bos_token":"<s>","eos_token":"</s>","unk_token":"<unk>"}""");
    }
}
