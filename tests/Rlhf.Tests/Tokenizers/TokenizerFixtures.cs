using System.Text.Json;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

/// <summary>tokenizers.json and the vocabularies that it was made with.</summary>
internal static class TokenizerFixtures
{
    public static ITokenizer Gpt2() => AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", "gpt2"));

    public static ITokenizer Bert() => AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", "bert-base-uncased"));

    /// <summary>A part of tokenizers.json; skips the test when the file lacks it.</summary>
    public static JsonElement Part(string name)
    {
        using var stream = File.OpenRead(Fixtures.Path("tokenizers.json"));
        bool found = JsonDocument.Parse(stream).RootElement.TryGetProperty(name, out var part);
        Assert.SkipUnless(found, $"tokenizers.json has no part '{name}'.");
        return part;
    }

    public static IEnumerable<JsonElement> Rows(string part) => Part(part).EnumerateArray();

    public static IEnumerable<JsonElement> Batches(bool pairs) =>
        Rows("batches").Where(b => b.TryGetProperty("pair", out _) == pairs);

    public static int[] Ids(this JsonElement element, string name) => element.GetProperty(name).Deserialize<int[]>()!;

    public static string Text(this JsonElement element, string name) => element.GetProperty(name).GetString()!;
}
