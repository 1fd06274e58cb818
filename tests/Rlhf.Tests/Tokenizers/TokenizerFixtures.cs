using System.Text.Json;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

/// <summary>tokenizers.json and the vocabularies that it was made with.</summary>
internal static class TokenizerFixtures
{
    public static ITokenizer Gpt2() => AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", "gpt2"));

    public static ITokenizer Bert() => AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", "bert-base-uncased"));

    public static JsonElement Read()
    {
        using var stream = File.OpenRead(Fixtures.Path("tokenizers.json"));
        return JsonDocument.Parse(stream).RootElement;
    }

    public static IEnumerable<JsonElement> Batches(bool pairs) =>
        Read().GetProperty("batches").EnumerateArray().Where(b => b.TryGetProperty("pair", out _) == pairs);

    public static int[] Ids(this JsonElement element, string name) => element.GetProperty(name).Deserialize<int[]>()!;

    public static string Text(this JsonElement element, string name) => element.GetProperty(name).GetString()!;
}
