using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Rlhf.Tokenizers;

namespace Rlhf.Export.Gguf;

/// <summary>
/// llama.cpp has the rules by which byte-level tokenizers split text into words in its code, and a file names one (<c>tokenizer.ggml.pre</c>).
/// The rule of a tokenizer.json names it. Where it is written in another way, a published tokenizer is known as in llama.cpp's own converter: by
/// the ids that it gives one text, which tell the rule less exactly (Llama 3 without a begin token passes for another one that merges otherwise).
/// </summary>
internal static class GgufPreTokenizer
{
    /// <summary>The text of llama.cpp's converter; SHA-256 of its ids, written as <c>[1, 2, 3]</c>, is what a tokenizer is known by.</summary>
    private const string CheckText = "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n\U0001F680 (normal) \U0001F636\u200D\U0001F32B\uFE0F (multiple emojis c"
        + "oncatenated) \u2705 \U0001F999\U0001F999 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 \u1780\u17B6\u1793"
        + "\u17CB\u178F\u17C2\u1796\u17B7\u179F\u17C1\u179F\u17A2\u17B6\u1785\U0001F601 ?\u6211\u60F3\u5728apple\u5DE5\u4F5C1314151"
        + "\u5929\uFF5E ------======= \u043D\u0435\u0449\u043E \u043D\u0430 \u0411\u044A\u043B\u0433\u0430\u0440\u0441\u043A\u0438 "
        + "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like so"
        + "me tea? We'Ve a'lL";

    /// <summary>Tokenizers of published models by that hash; a fact of llama.cpp's conversion/base.py.</summary>
    private static readonly Dictionary<string, string> Published = new()
    {
        ["0ef9807a4087ebef797fc749390439009c3b9eda9ad1a097abbe738f486c01e5"] = "llama-bpe",
        ["3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454"] = "gpt-2",
        ["e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea"] = "qwen2",
        ["d4540891389ea895b53b399da6ac824becc30f2fba0e9ddbb98f92e55ca0e97c"] = "qwen2",
        ["855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249"] = "smollm",
        ["a8594e3edff7c29c003940395316294b2c623e09894deebbc65f33f1515df79e"] = "dbrx",
        ["b6dc8df998e1cfbdc4eac8243701a65afe638679230920b50d6f17d81c098166"] = "olmo",
        ["fcace8b9cac38ce847670c970cd5892031a753a1ef381abd1d9af00f713da085"] = "phi-2",
        ["32d85c31273f8019248f2559fed492d929ea28b17e51d81d3bb36fff23ca72b3"] = "stablelm2",
        ["63b97e4253352e6f357cc59ea5b583e3a680eaeaf2632188c2b952de2588485e"] = "tekken",
        ["0e9433cbbb161f89e264eb32e8e64bfe69e834973ffca5d41d3948a604a3e2a3"] = "pixtral",
        ["049ecf7629871e3041641907f3de7c733e4dbfdc736f57d882ba0b0845599754"] = "deepseek-llm",
        ["347715f544604f9118bb75ed199f68779f423cabb20db6de6f31b908d04d7821"] = "deepseek-coder",
        ["877081d19cf6996e2c4ff0e1236341e9b7bde288f5311a56a937f0afbbb3aeb5"] = "deepseek-v3",
        ["b3f499bb4255f8ca19fccd664443283318f2fd2414d5e0b040fbdd0cc195d6c5"] = "deepseek-r1-qwen",
        ["ccc2ef013c104be7bae2965776d611e1d7a8a2a9c547dd93a682c9a9fc80352e"] = "gpt-4o",
        ["9d032fcbd5501f4a38150912590928bfb36091efb5df11b8e2124b0390e3fb1e"] = "falcon3",
        ["35d91631860c815f952d711435f48d356ebac988362536bed955d43bfa436e34"] = "starcoder",
        ["6221ad2852e85ce96f791f476e0b390cf9b474c9e3d1362f53a24a06dc8220ff"] = "refact",
        ["d4c8f286ea6b520b3d495c4455483cfa2302c0cfcd4be05d781b6a8a0a7cdaf1"] = "megrez",
        ["d5f1dd6f980fec569fb218a81a7658ac45fc56b38c5a0adeb1c232fbe04ef5ec"] = "seed-coder",
    };

    private const string Contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    private const string Endings = @"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string ThreeDigits = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + Endings;

    /// <summary>The same words, as cl100k's pattern says it with possessive quantifiers.</summary>
    private static readonly string[] ThreeDigitsPossessive =
    [
        Contractions + @"|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    ];

    private const string OneDigit = Contractions + @"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + Endings;
    private const string WithMarks = Contractions
        + @"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private const string Upper = @"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", Lower = @"[\p{Ll}\p{Lm}\p{Lo}\p{M}]";
    private const string CaseAware = @"[^\r\n\p{L}\p{N}]?" + Upper + "*" + Lower + "+" + Contractions + @"?|[^\r\n\p{L}\p{N}]?" + Upper + "+" + Lower + "*"
        + Contractions + @"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    private const string CaseAwareOneDigit = @"[^\r\n\p{L}\p{N}]?" + Upper + "*" + Lower + @"+|[^\r\n\p{L}\p{N}]?" + Upper + "+" + Lower + "*"
        + @"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <summary>DeepSeek V3: three splits, one after the other.</summary>
    private static readonly string[] ThreeSplits =
    [
        @"\p{N}{1,3}",
        "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+",
        @"[!""#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ];

    /// <summary>llama.cpp's name of a tokenizer's rule.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="json">Its tokenizer.json, for messages.</param>
    /// <param name="stations">Its pre-tokenizers, in order.</param>
    /// <param name="ignoresMerges">A word that is a token is that token, whatever the merges say.</param>
    /// <exception cref="InvalidDataException">llama.cpp has no such rule.</exception>
    public static string NameOf(ITokenizer tokenizer, JsonPlace json, IReadOnlyList<JsonPlace> stations, bool ignoresMerges)
    {
        if (ByRule(stations, ignoresMerges) is { } rule)
            return rule;
        string hash = HashOf(tokenizer);
        return Published.GetValueOrDefault(hash) ?? throw new InvalidDataException(
            $"{json.File}: pre_tokenizer: llama.cpp has no rule that splits text into words as this one does{(ignoresMerges ? " without merging words that are tokens" : "")} "
            + $"(the hash of its check text is {hash}). Train a tokenizer with another rule (rlhf tokenizer train), or ask llama.cpp to add this one.");
    }

    /// <summary>SHA-256 of the ids of llama.cpp's check text, in hexadecimal.</summary>
    internal static string HashOf(ITokenizer tokenizer)
    {
        var ids = tokenizer.Encode(CheckText).Select(id => id.ToString(CultureInfo.InvariantCulture));
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"[{string.Join(", ", ids)}]")));
    }

    private static string? ByRule(IReadOnlyList<JsonPlace> stations, bool ignoresMerges)
    {
        string[] kinds = [.. stations.Select(s => s.Text("type") ?? "")];
        bool usesPattern = stations[^1].Flag("use_regex", true);
        if (kinds is ["ByteLevel"] && usesPattern && !ignoresMerges)
            return "gpt-2";
        if (kinds is ["Digits", "ByteLevel"] && usesPattern && stations[0].Flag("individual_digits") && !ignoresMerges)
            return "smollm";
        if (kinds is ["Split", "Split", "Split", "ByteLevel"] && !usesPattern && !ignoresMerges && stations.SkipLast(1).All(KeepsEverything)
            && stations.SkipLast(1).Select(s => Spelled(s.Required("pattern").Text("Regex"))).SequenceEqual(ThreeSplits))
            return "deepseek-v3";
        if (kinds is not ["Split", "ByteLevel"] || usesPattern || !KeepsEverything(stations[0]))
            return null;
        return (stations[0].Required("pattern").Text("Regex"), ignoresMerges) switch
        {
            (ThreeDigits, true) => "llama-bpe",
            (ThreeDigits, false) => "dbrx",
            ({ } pattern, var ignores) when ThreeDigitsPossessive.Contains(pattern) => ignores ? "llama-bpe" : "dbrx",
            (OneDigit, false) => "qwen2",
            (WithMarks, false) => "qwen35",
            (CaseAware, false) => "gpt-4o",
            (CaseAwareOneDigit, true) => "tekken",
            _ => null,
        };
    }

    /// <summary>A pattern with line breaks written as escapes, without needless ones.</summary>
    private static string? Spelled(string? pattern) => pattern?.Replace("\r", @"\r", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal)
        .Replace("\\\"", "\"", StringComparison.Ordinal);

    /// <summary>The patterns match everything: their matches are the words, whether they are isolated or what is between them is removed.</summary>
    private static bool KeepsEverything(JsonPlace split) =>
        (split.Text("behavior"), split.Flag("invert")) is ("Isolated", false) or ("Removed", true);
}
