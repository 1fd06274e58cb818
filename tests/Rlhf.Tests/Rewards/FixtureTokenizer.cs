using Rlhf.Tokenizers;

namespace Rlhf.Tests.Rewards;

/// <summary>A tokenizer for tests: "#3" is the fourth of the given rows; any other text is [1], an id for each character, [2].</summary>
internal sealed class FixtureTokenizer(int vocabSize, params int[][] rows) : ITokenizer
{
    public SequenceTemplate Template => SequenceTemplate.None;

    public int VocabSize => vocabSize;

    public int ModelMaxLength { get; init; } = int.MaxValue;

    public int? BosTokenId => null;

    public int? EosTokenId => null;

    public int? PadTokenId => 0;

    public int? UnkTokenId => null;

    public int? ClsTokenId => 1;

    public int? SepTokenId => 2;

    public int[] Encode(string text, bool addSpecialTokens = true) => text.StartsWith('#') ? rows[int.Parse(text[1..])]
        : [1, .. text.Select(c => 3 + c % (vocabSize - 3)), 2];

    public int[] EncodeTruncated(string text, int maxLength)
    {
        var ids = Encode(text);
        return ids.Length <= maxLength ? ids : [.. ids.Take(maxLength - 1), ids[^1]];
    }

    public int[] EncodePair(string text, string pair, int maxLength = int.MaxValue) => throw new NotSupportedException();

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) => throw new NotSupportedException();

    public string IdToToken(int id) => throw new NotSupportedException();

    public int? TokenToId(string token) => throw new NotSupportedException();

    public void SavePretrained(string folder) => throw new NotSupportedException();
}
