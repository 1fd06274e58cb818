using Rlhf.Tokenizers;

namespace Rlhf.Tests.Training.RewardModeling;

/// <summary>Every space-separated word is a token: [CLS] 1, [SEP] 2, then the words given.</summary>
internal sealed class ToyTokenizer(params string[] words) : ITokenizer
{
    private readonly string[] vocabulary = ["[PAD]", "[CLS]", "[SEP]", .. words];

    public SequenceTemplate Template => SequenceTemplate.Bert(1, 2);

    public int VocabSize => vocabulary.Length;

    public int ModelMaxLength => int.MaxValue;

    public int? BosTokenId => null;

    public int? EosTokenId => null;

    public int? PadTokenId => 0;

    public int? UnkTokenId => null;

    public int? ClsTokenId => 1;

    public int? SepTokenId => 2;

    public int[] Encode(string text, bool addSpecialTokens = true)
    {
        var ids = text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(w => Array.IndexOf(vocabulary, w)).ToArray();
        return addSpecialTokens ? [1, .. ids, 2] : ids;
    }

    public int[] EncodePair(string text, string pair, int maxLength = int.MaxValue) => throw new NotSupportedException();

    public int[] EncodeTruncated(string text, int maxLength)
    {
        var ids = Encode(text, addSpecialTokens: false);
        return [1, .. ids.Take(maxLength - 2), 2];
    }

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) =>
        string.Join(' ', ids.Where(i => !skipSpecialTokens || i > 2).Select(i => vocabulary[i]));

    public string IdToToken(int id) => vocabulary[id];

    public int? TokenToId(string token) => Array.IndexOf(vocabulary, token) is >= 0 and var id ? id : null;

    public void SavePretrained(string folder) => throw new NotSupportedException();
}
