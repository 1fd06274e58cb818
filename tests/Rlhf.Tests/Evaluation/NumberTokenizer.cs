using System.Globalization;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Evaluation;

/// <summary>Texts are token ids with spaces between them; there are no special tokens but an end token.</summary>
internal sealed class NumberTokenizer(int vocabSize, int? endToken = null) : ITokenizer
{
    public SequenceTemplate Template => SequenceTemplate.None;

    public int VocabSize => vocabSize;

    public int ModelMaxLength => int.MaxValue;

    public int? BosTokenId => null;

    public int? EosTokenId => endToken;

    public int? PadTokenId => null;

    public int? UnkTokenId => null;

    public int? ClsTokenId => null;

    public int? SepTokenId => null;

    public static string Text(IEnumerable<int> ids) => string.Join(' ', ids);

    public int[] Encode(string text, bool addSpecialTokens = true) =>
        [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(w => int.Parse(w, CultureInfo.InvariantCulture))];

    public int[] EncodePair(string text, string pair, int maxLength = int.MaxValue) => throw new NotSupportedException();

    public int[] EncodeTruncated(string text, int maxLength) => [.. Encode(text).Take(maxLength)];

    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) =>
        Text(ids.Where(id => !skipSpecialTokens || id != endToken));

    public string IdToToken(int id) => throw new NotSupportedException();

    public int? TokenToId(string token) => throw new NotSupportedException();

    public void SavePretrained(string folder) => throw new NotSupportedException();
}
