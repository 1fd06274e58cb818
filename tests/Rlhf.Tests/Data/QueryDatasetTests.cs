using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Data;

public sealed class QueryDatasetTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly WordTokenizer tokenizer = new();

    public void Dispose() => folder.Dispose();

    /// <summary>One token per character, which is enough to see where a text was cut; counts what it was asked to read.</summary>
    private sealed class WordTokenizer : ITokenizer
    {
        public long CharactersRead;
        public SequenceTemplate Template => SequenceTemplate.None;
        public bool SplitsAtSpaces => true;
        public int VocabSize => char.MaxValue + 1;
        public int ModelMaxLength => int.MaxValue;
        public int? BosTokenId => null;
        public int? EosTokenId => null;
        public int? PadTokenId => null;
        public int? UnkTokenId => null;
        public int? ClsTokenId => null;
        public int? SepTokenId => null;

        public int[] Encode(string text, bool addSpecialTokens = true)
        {
            Interlocked.Add(ref CharactersRead, text.Length);
            return [.. text.Select(c => (int)c)];
        }

        public int[] EncodePair(string text, string pair, int maxLength = int.MaxValue) => Encode(text + pair);
        public int[] EncodeTruncated(string text, int maxLength) => Encode(text)[..Math.Min(maxLength, text.Length)];
        public string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false) => string.Concat(ids.Select(i => (char)i));
        public string IdToToken(int id) => ((char)id).ToString();
        public int? TokenToId(string token) => token[0];
        public void SavePretrained(string folder) => throw new NotSupportedException();
    }

    [Fact]
    public void TextsAreCutToLengthsDrawnFromTheSeed()
    {
        var texts = Enumerable.Range(0, 200).Select(i => $"{i} is a number with a text behind it").ToArray();
        var queries = QueryDataset.FromTexts(texts, tokenizer, new LengthSampler(2, 8), seed: 4);
        Assert.Equal(texts.Length, queries.Count);
        Assert.Equal([2, 3, 4, 5, 6, 7], queries.Select(q => q.TokenIds.Length).Distinct().Order());
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.Equal(texts[i][..queries[i].TokenIds.Length], queries[i].Text);
            Assert.Equal(tokenizer.Encode(queries[i].Text), queries[i].TokenIds);
        }
        Assert.Equal(queries.Select(q => q.Text), QueryDataset.FromTexts(texts, tokenizer, new(2, 8), 4).Select(q => q.Text));
        Assert.NotEqual(queries.Select(q => q.Text), QueryDataset.FromTexts(texts, tokenizer, new(2, 8), 5).Select(q => q.Text));
    }

    [Fact]
    public void OnlyTheBeginningOfALongTextIsTokenised()
    {
        var text = string.Concat(Enumerable.Repeat("many words ", 10_000));
        var query = Assert.Single(QueryDataset.FromTexts([text], tokenizer, new LengthSampler(5, 6), seed: 1));
        Assert.Equal("many ", query.Text);
        Assert.InRange(tokenizer.CharactersRead, 5, 1000);
    }

    /// <summary>The shortcut above against the lesson's own words: encode the whole review, then cut.</summary>
    [Theory]
    [InlineData("gpt2")]
    [InlineData("bert-base-uncased")]
    public void TheFirstTokensAreThoseOfTheWholeReview(string vocabulary)
    {
        var real = AutoTokenizer.FromPretrained(Fixtures.Shared("tokenizers", vocabulary));
        var reviews = ReviewDataset.Load(Fixtures.Shared("data", "imdb"), new() { LongerThan = 200, ShuffleSeed = 1, Limit = 300 });
        var queries = QueryDataset.FromTexts([.. reviews.Select(r => r.Text)], real, new LengthSampler(2, 24), seed: 2);
        Assert.Equal(reviews.Count, queries.Count);
        for (int i = 0; i < reviews.Count; i++)
            Assert.Equal(real.Encode(reviews[i].Text)[..queries[i].TokenIds.Length], queries[i].TokenIds);
    }

    [Fact]
    public void EmptyTextsGiveNoQuery() =>
        Assert.Equal(["ab"], QueryDataset.FromTexts(["", "ab"], tokenizer, new LengthSampler(3, 4), 1).Select(q => q.Text));

    [Fact]
    public void TheLessonsFilterIsTheDefault()
    {
        var path = Path.Combine(folder.Path, "a.txt");
        File.WriteAllText(path, new string('a', 200) + "\n" + new string('b', 201));
        Assert.StartsWith("bb", Assert.Single(QueryDataset.FromReviews(path, tokenizer, seed: 1)).Text);
        Assert.Equal(2, QueryDataset.FromReviews(path, tokenizer, 1, options: new ReviewReadOptions()).Count);
    }

    [Fact]
    public void QueryFilesAreTakenWhole()
    {
        var json = Path.Combine(folder.Path, "a.jsonl");
        File.WriteAllText(json, "{\"query\":\"This film\"}\n{\"query\":\"I\"}\n");
        var text = Path.Combine(folder.Path, "a.txt");
        File.WriteAllText(text, "This film\nI\n");
        foreach (var path in new[] { json, text })
        {
            Assert.Equal(["This film", "I"], QueryDataset.Load(path, tokenizer).Select(q => q.Text));
            Assert.Equal(["This", "I"], QueryDataset.Load(path, tokenizer, new() { MaxTokens = 4 }).Select(q => q.Text));
        }
        File.AppendAllText(json, "{\"query\":\"\"}\n");
        Assert.Contains("line 3", Assert.Throws<InvalidDataException>(() => QueryDataset.Load(json, tokenizer)).Message);
    }
}
