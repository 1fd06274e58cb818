using System.Text.Json;

namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>The merges of a BPE model: <c>"a b"</c> or <c>["a", "b"]</c> each.</summary>
internal static class MergeReader
{
    /// <summary>Reads them into ids. Hundreds of thousands are usual, so that a place is worked out for a complaint only.</summary>
    public static MergeTable Read(JsonPlace json, Dictionary<string, int> vocabulary, int continuingPrefix)
    {
        if (json.Kind != JsonValueKind.Array)
            throw json.Wrong("must be a list");
        var table = new MergeTable(json.Value.GetArrayLength());
        var lookup = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        Span<char> joined = stackalloc char[256];
        int rank = 0;
        foreach (var merge in json.Value.EnumerateArray())
        {
            ReadOnlySpan<char> left, right;
            if (merge.ValueKind == JsonValueKind.String)
            {
                var line = merge.GetString().AsSpan();
                int space = line.IndexOf(' ');
                if (space <= 0 || space == line.Length - 1 || line[(space + 1)..].Contains(' '))
                    throw Wrong(json, rank, "is not two tokens with one space between them");
                left = line[..space];
                right = line[(space + 1)..];
            }
            else if (merge.ValueKind == JsonValueKind.Array && merge.GetArrayLength() == 2
                && merge[0].ValueKind == JsonValueKind.String && merge[1].ValueKind == JsonValueKind.String)
            {
                left = merge[0].GetString();
                right = merge[1].GetString();
            }
            else
            {
                throw Wrong(json, rank, "is not a pair of tokens");
            }
            var rest = right[Math.Min(continuingPrefix, right.Length)..];
            var whole = left.Length + rest.Length <= joined.Length ? joined[..(left.Length + rest.Length)]
                : new char[left.Length + rest.Length];
            left.CopyTo(whole);
            rest.CopyTo(whole[left.Length..]);
            table.Add(Known(lookup, left, json, rank), Known(lookup, right, json, rank), Known(lookup, whole, json, rank));
            rank++;
        }
        return table;
    }

    private static int Known(
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup, ReadOnlySpan<char> token, JsonPlace json, int rank) =>
        lookup.TryGetValue(token, out int id) ? id
            : throw Wrong(json, rank, $"needs the token '{token}', which is not in the vocabulary");

    private static InvalidDataException Wrong(JsonPlace json, int rank, string what) =>
        (json with { Path = $"{json.Path}[{rank}]" }).Wrong(what);
}
