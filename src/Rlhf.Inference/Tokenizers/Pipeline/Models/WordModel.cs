namespace Rlhf.Tokenizers.Pipeline.Models;

/// <summary>Every piece is a token or unknown.</summary>
internal sealed class WordModel(Dictionary<string, int> vocabulary, int unknownId) : Stage
{
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> lookup =
        vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();

    public override void Take(ReadOnlySpan<char> piece, TextPlace place, List<int> ids) =>
        ids.Add(lookup.TryGetValue(piece, out int id) ? id : unknownId);
}
