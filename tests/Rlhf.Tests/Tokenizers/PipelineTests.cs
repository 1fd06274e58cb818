using System.Text.Json;
using Google.Protobuf;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Pipeline.Normalizers;

namespace Rlhf.Tests.Tokenizers;

public sealed class PipelineTests : IDisposable
{
    private const string Model = """
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
        """;

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("""{"normalizer": {"type": "Magic"}, MODEL}""", "normalizer.type is 'Magic'; known are")]
    [InlineData("""{"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "X"}]}, MODEL}""", "normalizers[1].type is 'X'")]
    [InlineData("""{"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}, MODEL}""", "normalizer.pattern is empty")]
    [InlineData("""{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, MODEL}""", "precompiled_charsmap are cut off")]
    [InlineData("""{"pre_tokenizer": {"type": "UnicodeScripts"}, MODEL}""", "pre_tokenizer.type is 'UnicodeScripts'")]
    [InlineData("""{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\p{Han}+"}, "behavior": "Isolated"}, MODEL}""", "property \\p{Han}")]
    [InlineData("""{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Sometimes"}, MODEL}""", "behavior must be one of")]
    [InlineData("""{"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "maybe"}, MODEL}""", "prepend_scheme must be")]
    [InlineData("""{"decoder": {"type": "CTC"}, MODEL}""", "decoder.type is 'CTC'")]
    [InlineData("""{"post_processor": {"type": "X"}, MODEL}""", "post_processor.type is 'X'")]
    [InlineData("""{"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}}""", "model.dropout asks for random merges")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 2}, "merges": []}}""", "model.vocab has no token with the id 1")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 4000000000}, "merges": []}}""", "model.vocab.b must be a token id")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0, "b": 2000000000}, "merges": []}}""", "ids must lie between")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "c"]]}}""", "model.merges[0] needs the token 'c'")]
    [InlineData("""{"model": {"type": "BPE", "vocab": {"a": 0}, "unk_token": "<unk>", "merges": []}}""", "model.unk_token names '<unk>'")]
    [InlineData("""{"model": {"type": "Unigram", "vocab": [["a", -1]]}}""", "model lacks 'unk_id'")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 1, "vocab": [["a", -1]]}}""", "model.unk_id must be below")]
    [InlineData("""{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1], ["a", -2]]}}""", "model.vocab[1] repeats the piece 'a'")]
    [InlineData("""{"model": {"type": "WordLevel", "unk_token": "u", "vocab": {"a": 0}}}""", "model.unk_token names 'u'")]
    [InlineData("""{"model": {"type": "Neural"}}""", "model.type is 'Neural'")]
    public void What_is_not_known_is_refused_by_name_and_place(string json, string complaint)
    {
        Write("tokenizer.json", json.Replace("MODEL", Model, StringComparison.Ordinal));
        var error = Assert.Throws<InvalidDataException>(() => AutoTokenizer.FromPretrained(folder.Path));
        Assert.Contains(complaint, error.Message);
        Assert.Contains("tokenizer.json", error.Message);
    }

    [Fact]
    public void Rules_that_grow_without_bound_are_stopped()
    {
        var doubling = string.Join(',', Enumerable.Repeat("""{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}""", 60));
        Write("tokenizer.json", $$"""{"normalizer": {"type": "Sequence", "normalizers": [{{doubling}}]}, {{Model}}}""");
        var tokenizer = AutoTokenizer.FromPretrained(folder.Path);
        Assert.Contains("repeat text", Assert.Throws<InvalidDataException>(() => tokenizer.Encode("a")).Message);
    }

    [Fact]
    public void Saving_writes_every_file_back_as_it_was()
    {
        var source = Path.Combine(folder.Path, "from");
        CopyFolder(Fixtures.Path("tokenizers-modern", "hard-llama3"), source);
        File.WriteAllText(Path.Combine(source, "chat_template.jinja"), "{{ messages }}");
        Directory.CreateDirectory(Path.Combine(source, "additional_chat_templates"));
        File.WriteAllText(Path.Combine(source, "additional_chat_templates", "tool_use.jinja"), "{{ tools }}");
        File.WriteAllText(Path.Combine(source, "special_tokens_map.json"), """{ "eos_token" : "<|eos|>" }""");
        var saved = Path.Combine(folder.Path, "to");
        AutoTokenizer.FromPretrained(source).SavePretrained(saved);
        var files = Directory.GetFiles(source, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(source, f)).Order().ToArray();
        Assert.Equal(files, Directory.GetFiles(saved, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(saved, f)).Order());
        Assert.All(files, f => Assert.Equal(File.ReadAllBytes(Path.Combine(source, f)), File.ReadAllBytes(Path.Combine(saved, f))));
    }

    /// <summary>Worked out by Python's unicodedata.</summary>
    [Theory]
    [InlineData("\u00E9\u1E69", "e\u0301s\u0323\u0307", "\u00E9\u1E69", "e\u0301s\u0323\u0307", "\u00E9\u1E69")]
    [InlineData("s\u0307\u0323", "s\u0323\u0307", "\u1E69", "s\u0323\u0307", "\u1E69")]
    [InlineData("\uFB01\u00BD\u2460\uFF21", "\uFB01\u00BD\u2460\uFF21", "\uFB01\u00BD\u2460\uFF21", "fi1\u204421A", "fi1\u204421A")]
    [InlineData("\uD55C\uAE00", "\u1112\u1161\u11AB\u1100\u1173\u11AF", "\uD55C\uAE00", "\u1112\u1161\u11AB\u1100\u1173\u11AF", "\uD55C\uAE00")]
    [InlineData("\u1112\u1161\u11AB", "\u1112\u1161\u11AB", "\uD55C", "\u1112\u1161\u11AB", "\uD55C")]
    [InlineData("\u212B\u0958\u2126", "A\u030A\u0915\u093C\u03A9", "\u00C5\u0915\u093C\u03A9", "A\u030A\u0915\u093C\u03A9", "\u00C5\u0915\u093C\u03A9")]
    [InlineData("\U0001D15E\U0002F800", "\U0001D157\U0001D165\u4E3D", "\U0001D157\U0001D165\u4E3D", "\U0001D157\U0001D165\u4E3D", "\U0001D157\U0001D165\u4E3D")]
    [InlineData("a\u0315\u0300\u05AE\u0301b", "a\u05AE\u0300\u0301\u0315b", "\u00E0\u05AE\u0301\u0315b", "a\u05AE\u0300\u0301\u0315b", "\u00E0\u05AE\u0301\u0315b")]
    public void The_four_forms_of_unicode(string text, string nfd, string nfc, string nfkd, string nfkc)
    {
        Assert.Equal(nfd, UnicodeNormalizer.Nfd.Normalize(text));
        Assert.Equal(nfc, UnicodeNormalizer.Nfc.Normalize(text));
        Assert.Equal(nfkd, UnicodeNormalizer.Nfkd.Normalize(text));
        Assert.Equal(nfkc, UnicodeNormalizer.Nfkc.Normalize(text));
    }

    /// <summary>A trie worked out by hand: "a" becomes "xy".</summary>
    [Fact]
    public void Precompiled_rules_replace_what_they_name()
    {
        var units = new uint[256];
        units[0] = 1u << 10; // the root's children lie at 1 ^ character
        units[1 ^ 'a'] = 'a' | 1u << 8 | (2u << 10); // has a value, at its offset
        units[1 ^ 'a' ^ 2] = 0x80000000u | 0; // the replacement begins at byte 0
        var rules = new List<byte>();
        rules.AddRange(BitConverter.GetBytes(units.Length * 4));
        foreach (uint unit in units)
            rules.AddRange(BitConverter.GetBytes(unit));
        rules.AddRange("xy\0"u8);
        Assert.Equal("bxyc xy", new PrecompiledNormalizer([.. rules]).Normalize("bac a", continues: false));
    }

    /// <summary>Llama 2's pieces with their scores, as its tokenizer.model has them, give the ids of its tokenizer.json.</summary>
    [Fact]
    public void A_sentencepiece_model_alone_is_read()
    {
        using var json = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Shared("tokenizers", "llama2", "tokenizer.json")));
        var vocabulary = json.RootElement.GetProperty("model").GetProperty("vocab").EnumerateObject().OrderBy(p => p.Value.GetInt32());
        File.WriteAllBytes(Path.Combine(folder.Path, "tokenizer.model"), SentencePiece(kind: 2, vocabulary.Select((p, id) => (p.Name,
            // Bytes come first, then pieces in the order of their scores; runs of spaces are the least likely.
            id < 259 ? 0f : p.Name.Length > 1 && p.Name.All(c => c == '\u2581') ? -1e9f - id * 1000f : 259f - id, id switch { 0 => 2, 1 or 2 => 3, < 259 => 6, _ => 1 }))));
        var model = AutoTokenizer.FromPretrained(folder.Path);
        using var rows = JsonDocument.Parse(File.ReadAllBytes(Fixtures.Shared("fixtures", "tokenizers-modern", "real-llama2.json")));
        foreach (var row in rows.RootElement.GetProperty("rows").EnumerateArray())
        {
            Assert.Equal(row.Ids("ids"), model.Encode(row.Text("text")));
            Assert.Equal(row.Text("decoded"), model.Decode(row.Ids("ids_without_special_tokens")));
        }
        var saved = Path.Combine(folder.Path, "saved");
        model.SavePretrained(saved);
        Assert.True(File.Exists(Path.Combine(saved, "tokenizer.model")));
        File.Delete(Path.Combine(saved, "tokenizer.model"));
        Assert.Equal(model.Encode("Some text"), AutoTokenizer.FromPretrained(saved).Encode("Some text"));
    }

    [Fact]
    public void A_sentencepiece_model_of_unigrams_takes_the_likeliest_pieces()
    {
        File.WriteAllBytes(Path.Combine(folder.Path, "spiece.model"), SentencePiece(kind: 1,
            [("<pad>", 0, 3), ("</s>", 0, 3), ("<unk>", 0, 2), ("▁", -3f, 1), ("▁a", -2f, 1), ("b", -2f, 1), ("ab", -3f, 1), ("▁ab", -4.5f, 1)]));
        var tokenizer = AutoTokenizer.FromPretrained(folder.Path);
        // "▁a" + "b" has -4, "▁ab" -4.5, "▁" + "ab" -6.
        Assert.Equal([4, 5, 1], tokenizer.Encode("ab"));
        Assert.Equal([4, 5, 4, 2, 1], tokenizer.Encode("ab a中文"));
        Assert.Equal("ab a", tokenizer.Decode([4, 5, 4]));
    }

    [Theory]
    [InlineData("garbage", "not a SentencePiece model")]
    [InlineData("", "holds no pieces")]
    public void A_damaged_sentencepiece_model_is_refused(string content, string complaint)
    {
        Write("tokenizer.model", content);
        Assert.Contains(complaint, Assert.Throws<InvalidDataException>(() => AutoTokenizer.FromPretrained(folder.Path)).Message);
    }

    private static byte[] SentencePiece(int kind, IEnumerable<(string Text, float Score, int Type)> pieces)
    {
        using var stream = new MemoryStream();
        using var output = new CodedOutputStream(stream);
        foreach (var (text, score, type) in pieces)
        {
            using var piece = new MemoryStream();
            using var fields = new CodedOutputStream(piece);
            fields.WriteTag(1, WireFormat.WireType.LengthDelimited);
            fields.WriteString(text);
            fields.WriteTag(2, WireFormat.WireType.Fixed32);
            fields.WriteFloat(score);
            fields.WriteTag(3, WireFormat.WireType.Varint);
            fields.WriteEnum(type);
            fields.Flush();
            output.WriteTag(1, WireFormat.WireType.LengthDelimited);
            output.WriteBytes(ByteString.CopyFrom(piece.ToArray()));
        }
        output.WriteTag(2, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.CopyFrom([0x18, (byte)kind]));
        output.Flush();
        return stream.ToArray();
    }

    private static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
    }

    private void Write(string name, string content) => File.WriteAllText(Path.Combine(folder.Path, name), content);
}
