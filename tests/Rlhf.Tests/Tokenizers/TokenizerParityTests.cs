using System.Text.Json;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

/// <summary>
/// Every tokenizer.json of fixtures/tokenizers-modern against Hugging Face's library, and real vocabularies of the shared data.
/// </summary>
public sealed class TokenizerParityTests
{
    private const string Folder = "tokenizers-modern", None = "none";

    /// <summary>The fixtures that there are; those of real vocabularies lie in the shared data where they are not beside the others.</summary>
    public static TheoryData<string> Names()
    {
        var own = Path.Combine(Fixtures.Root, Folder);
        var shared = Path.Combine(Fixtures.SharedRoot, "fixtures", Folder);
        string[] names =
        [
            .. (Directory.Exists(own) ? Directory.GetFiles(own, "*.json") : [])
                .Concat(Directory.Exists(shared) ? Directory.GetFiles(shared, "real-*.json") : [])
                .Select(f => Path.GetFileNameWithoutExtension(f)).Where(n => n != "batches").Distinct().Order(StringComparer.Ordinal),
        ];
        return [.. names.DefaultIfEmpty(None)];
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Ids_and_texts_are_those_of_the_reference(string name)
    {
        using var file = Open(name, out var tokenizer);
        var wrong = new List<string>();
        void Check(string what, string text, string expected, string actual)
        {
            if (expected != actual)
                wrong.Add($"{what} of {JsonSerializer.Serialize(text)}: {expected} expected, {actual} found");
        }
        if (file.RootElement.TryGetProperty("vocab_size", out var size))
            Assert.Equal(size.GetInt32(), tokenizer.VocabSize);
        foreach (var row in file.RootElement.GetProperty("rows").EnumerateArray())
        {
            string text = row.Text("text");
            int[] ids = row.Ids("ids"), plain = row.Ids("ids_without_special_tokens");
            Check("ids", text, Join(ids), Join(tokenizer.Encode(text)));
            Check("ids without special tokens", text, Join(plain), Join(tokenizer.Encode(text, addSpecialTokens: false)));
            Check("text", text, row.Text("decoded"), tokenizer.Decode(plain));
            Check("text without special tokens", text, row.Text("decoded_skip_special_tokens"), tokenizer.Decode(ids, skipSpecialTokens: true));
            if (row.TryGetProperty("decoded_with_special_tokens", out var whole))
                Check("text with special tokens", text, whole.GetString()!, tokenizer.Decode(ids));
        }
        foreach (var row in file.RootElement.GetProperty("decode").EnumerateArray())
        {
            int[] ids = row.Ids("ids");
            Check("text", Join(ids), row.Text("decoded"), tokenizer.Decode(ids));
            Check("text without special tokens", Join(ids), row.Text("decoded_skip_special_tokens"), tokenizer.Decode(ids, skipSpecialTokens: true));
        }
        Assert.True(wrong.Count == 0, $"{wrong.Count} differ, the first:\n{string.Join('\n', wrong.Take(5))}");
    }

    /// <summary>What a continuation's ids and a prompt's ids spell together is the whole text, whatever is put before first words.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void A_continuation_begins_where_the_prompt_ends(string name)
    {
        using var file = Open(name, out var tokenizer);
        foreach (var (prompt, answer) in new[] { ("the lazy", " dog"), ("the la", "zy dog"), ("the lazy ", "dog and") })
        {
            int[] ids = tokenizer.OfPrompt(prompt), rest = tokenizer.OfContinuation(answer);
            // Lossy ones (lower case, unknown characters) spell what they spell: no space may come or go, where text is kept at all.
            if (tokenizer.TextOfPrompt([.. ids]) is var spelled && spelled.TrimStart(' ') != prompt
                || tokenizer is WordPieceTokenizer || name.StartsWith("unigram", StringComparison.Ordinal))
                continue;
            Assert.Equal(spelled + answer, spelled + tokenizer.TextOfContinuation(rest));
            Assert.Equal(spelled + answer, tokenizer.TextOfPrompt([.. ids, .. rest]));
        }
    }

    [Fact]
    public void Batches_are_cut_and_filled_as_in_the_reference()
    {
        using var stream = File.OpenRead(Fixtures.Path(Folder, "batches.json"));
        using var file = JsonDocument.Parse(stream);
        var tokenizers = new Dictionary<string, ITokenizer>();
        foreach (var batch in file.RootElement.EnumerateArray())
        {
            string name = batch.Text("tokenizer"), place = $"{name} {batch.GetProperty("call")}";
            if (!tokenizers.TryGetValue(name, out var tokenizer))
                tokenizers.Add(name, tokenizer = AutoTokenizer.FromPretrained(Fixtures.Path(Folder, name)));
            var options = Options(batch, tokenizer);
            if (batch.TryGetProperty("texts", out var texts))
            {
                var rows = tokenizer.EncodeBatch(texts.Deserialize<string[]>()!, options);
                Assert.True(Same(batch.GetProperty("input_ids"), rows.InputIds), place);
                Assert.True(Same(batch.GetProperty("attention_mask"), rows.AttentionMask), place);
                continue;
            }
            var pair = batch.GetProperty("pair").Deserialize<string[]>()!;
            if (batch.TryGetProperty("error", out _))
            {
                Assert.Throws<ArgumentException>(() => tokenizer.EncodeText(pair[0], pair[1], options));
                continue;
            }
            var both = tokenizer.EncodeText(pair[0], pair[1], options);
            Assert.True(batch.Ids("input_ids").SequenceEqual(both.InputIds), place);
            Assert.True(batch.Ids("token_type_ids").SequenceEqual(both.TokenTypeIds), place);
        }
    }

    private static JsonDocument Open(string name, out ITokenizer tokenizer)
    {
        Assert.SkipWhen(name == None, $"{Folder} is not in {Fixtures.Root}.");
        bool real = name.StartsWith("real-", StringComparison.Ordinal);
        tokenizer = AutoTokenizer.FromPretrained(real ? Fixtures.Shared("tokenizers", name["real-".Length..]) : Fixtures.Path(Folder, name));
        var own = Path.Combine(Fixtures.Root, Folder, name + ".json");
        return JsonDocument.Parse(File.ReadAllBytes(real && !File.Exists(own) ? Fixtures.Shared("fixtures", Folder, name + ".json") : own));
    }

    private static EncodingOptions Options(JsonElement batch, ITokenizer tokenizer)
    {
        var call = batch.GetProperty("call");
        string Argument(string name) => call.TryGetProperty(name, out var value) ? value.ToString() : "";
        int Number(string name, int otherwise) => call.TryGetProperty(name, out var value) ? value.GetInt32() : otherwise;
        return new()
        {
            Truncation = Argument("truncation") switch
            {
                "True" => TruncationStrategy.LongestFirst,
                "only_first" => TruncationStrategy.OnlyFirst,
                "only_second" => TruncationStrategy.OnlySecond,
                _ => TruncationStrategy.None,
            },
            MaxLength = Number("max_length", int.MaxValue),
            AddSpecialTokens = Argument("add_special_tokens") != "False",
            Padding = Argument("padding") switch
            {
                "True" => PaddingStrategy.Longest,
                "max_length" => PaddingStrategy.MaxLength,
                _ => PaddingStrategy.None,
            },
            PadToMultipleOf = Number("pad_to_multiple_of", 1),
            TruncationSide = batch.Text("truncation_side") == "left" ? TruncationSide.Left : TruncationSide.Right,
            PaddingSide = batch.TryGetProperty("padding_side", out var side) && side.GetString() == "left"
                ? PaddingSide.Left : PaddingSide.Right,
            PadTokenId = batch.TryGetProperty("pad_token", out var pad) ? tokenizer.TokenToId(pad.GetString()!) : null,
        };
    }

    private static bool Same(JsonElement expected, int[][] actual)
    {
        var rows = expected.Deserialize<int[][]>()!;
        return rows.Length == actual.Length && rows.Zip(actual).All(x => x.First.SequenceEqual(x.Second));
    }

    private static string Join(int[] ids) => string.Join(' ', ids);
}
