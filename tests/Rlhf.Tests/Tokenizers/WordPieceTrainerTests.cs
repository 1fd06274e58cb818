using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public class WordPieceTrainerTests
{
    private static readonly string[] Reviews =
    [
        "This movie was GREAT, great fun and it's the best film of the year.",
        "This movie was terrible. The worst film, the worst acting — don't watch it!",
        "Great acting, great story; I'd watch it again and again. [SEP]",
    ];

    [Fact]
    public void Learns_the_most_frequent_pieces()
    {
        // By hand: characters a, b, c; continuing ##b, ##c; then a+##b (4 times), ab+##c (2 times).
        var tokenizer = WordPieceTrainer.Train(["Ab ab abc ABC c c"], 100);
        Assert.Equal(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##b", "##c", "ab", "abc"], Tokens(tokenizer));
        Assert.Equal([2, 11, 10, 3], tokenizer.Encode("abc áb"));
        Assert.Equal([2, 1, 3], tokenizer.Encode("ax"));
    }

    [Fact]
    public void What_was_learnt_comes_back_as_plain_text()
    {
        var tokenizer = WordPieceTrainer.Train(Reviews, 120);
        Assert.Equal("great story ; the worst film, the best acting!",
            tokenizer.Decode(tokenizer.Encode("Great story; the worst film, the best acting!"), skipSpecialTokens: true));
        Assert.DoesNotContain(tokenizer.UnkTokenId!.Value, Reviews.SelectMany(t => tokenizer.Encode(t)));
        Assert.Equal(Tokens(tokenizer), Tokens(WordPieceTrainer.Train(Reviews.Reverse(), 120)));
    }

    [Fact]
    public void What_is_saved_opens_again()
    {
        using var folder = new Fixtures.TemporaryFolder();
        var tokenizer = WordPieceTrainer.Train(Reviews, 120, modelMaxLength: 64);
        tokenizer.SavePretrained(folder.Path);
        var whole = AutoTokenizer.FromPretrained(folder.Path);
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        var parts = AutoTokenizer.FromPretrained(folder.Path);
        foreach (var opened in new[] { whole, parts })
        {
            Assert.Equal(Tokens(tokenizer), Tokens(opened));
            Assert.Equal(64, opened.ModelMaxLength);
            Assert.Equal("DistilBertTokenizer", ((PretrainedTokenizer)opened).Settings.TokenizerClass);
            Assert.Equal(tokenizer.Settings.SpecialTokens.Named(), ((PretrainedTokenizer)opened).Settings.SpecialTokens.Named());
            foreach (var text in Reviews)
                Assert.Equal(tokenizer.Encode(text), opened.Encode(text));
            Assert.Equal(tokenizer.EncodePair(Reviews[0], Reviews[1], 20), opened.EncodePair(Reviews[0], Reviews[1], 20));
        }
    }

    [Fact]
    public void Impossible_requests_are_refused() => Assert.Throws<ArgumentException>(() => WordPieceTrainer.Train(Reviews, 10));

    private static IEnumerable<string> Tokens(ITokenizer tokenizer) =>
        Enumerable.Range(0, tokenizer.VocabSize).Select(tokenizer.IdToToken);
}
