using System.Text.Json;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public class PaddedBatchTests
{
    [Fact]
    public void Pads_and_cuts_as_transformers_does()
    {
        var (gpt2, bert) = (TokenizerFixtures.Gpt2(), TokenizerFixtures.Bert());
        foreach (var batch in TokenizerFixtures.Batches(pairs: false))
        {
            var tokenizer = batch.Text("tokenizer") == "gpt2" ? gpt2 : bert;
            var limit = batch.GetProperty("truncation_max_length");
            var padded = PaddedBatch.Encode(tokenizer, batch.GetProperty("texts").Deserialize<string[]>()!,
                limit.ValueKind == JsonValueKind.Null ? int.MaxValue : limit.GetInt32(),
                batch.Text("padding_side") == "left" ? PaddingSide.Left : PaddingSide.Right);
            Assert.Equal(batch.GetProperty("input_ids").Deserialize<int[][]>(), padded.InputIds);
            Assert.Equal(batch.GetProperty("attention_mask").Deserialize<int[][]>(), padded.AttentionMask);
        }
    }

    [Fact]
    public void Joins_pairs_as_transformers_does()
    {
        var bert = Assert.IsType<WordPieceTokenizer>(TokenizerFixtures.Bert());
        foreach (var row in TokenizerFixtures.Batches(pairs: true))
        {
            var pair = row.GetProperty("pair").Deserialize<string[]>()!;
            var ids = bert.EncodePair(pair[0], pair[1], int.MaxValue, out int second);
            Assert.Equal(row.Ids("input_ids"), ids);
            Assert.Equal(row.Ids("token_type_ids"), ids.Select((_, t) => t < second ? 0 : 1));
        }
    }

    // [CLS] a.. [SEP] b.. [SEP] by hand: three ids are special; the longer text is cut first, then both to one half.
    [Theory]
    [InlineData(5, 3, 11, 5, 3)]
    [InlineData(5, 3, 9, 3, 3)]
    [InlineData(2, 9, 9, 2, 4)]
    [InlineData(9, 9, 10, 3, 4)]
    [InlineData(9, 8, 10, 4, 3)]
    [InlineData(9, 9, 3, 0, 0)]
    public void Cuts_the_longer_text_first(int first, int second, int limit, int firstKept, int secondKept)
    {
        var bert = TokenizerFixtures.Bert();
        int a = bert.TokenToId("a")!.Value, b = bert.TokenToId("b")!.Value;
        var (text, pair) = (string.Join(' ', Enumerable.Repeat("a", first)), string.Join(' ', Enumerable.Repeat("b", second)));
        Assert.Equal(
            [101, .. Enumerable.Repeat(a, firstKept), 102, .. Enumerable.Repeat(b, secondKept), 102],
            bert.EncodePair(text, pair, limit));
        Assert.Throws<ArgumentOutOfRangeException>(() => bert.EncodePair("a", "b", 2));
    }
}
