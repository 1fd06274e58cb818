using CsCheck;
using Rlhf.Tokenizers;

namespace Rlhf.Tests.Tokenizers;

public class ByteLevelBpeTrainerTests
{
    private static readonly string[] Reviews =
    [
        "This movie was great, great fun and it's the best film of the year.",
        "This movie was terrible. The worst film, the worst acting — don't watch it!",
        "Great acting, great story; I'd watch it again and again.<|endoftext|>",
    ];

    [Fact]
    public void Learns_the_most_frequent_pairs_first()
    {
        // By hand: words " ab" x 3 and "ab" x 1 give a+b 4 times, then " "+"ab" 3 times.
        var tokenizer = ByteLevelBpeTrainer.Train(["ab ab ab ab"], 300);
        Assert.Equal(256, tokenizer.TokenToId("ab"));
        Assert.Equal(257, tokenizer.TokenToId("Ġab"));
        Assert.Equal(258, tokenizer.EosTokenId);
        Assert.Equal(259, tokenizer.VocabSize);
        Assert.Equal([256, 257, 258, 257], tokenizer.Encode("ab ab<|endoftext|> ab"));
    }

    [Fact]
    public void Any_text_survives_a_learnt_vocabulary()
    {
        var tokenizer = ByteLevelBpeTrainer.Train(Reviews, 320);
        RandomText.Valid.Sample(text => Assert.Equal(text, tokenizer.Decode(tokenizer.Encode(text))), iter: 1000);
    }

    [Fact]
    public void The_order_of_the_texts_does_not_matter()
    {
        var one = ByteLevelBpeTrainer.Train(Reviews, 330);
        var other = ByteLevelBpeTrainer.Train(Reviews.Reverse(), 330);
        Assert.Equal(Tokens(one), Tokens(other));
    }

    [Fact]
    public void Merges_are_those_of_counting_anew()
    {
        Gen.Int[0, 3].Array[1, 12].Select(a => string.Concat(a.Select(i => "abc "[i]))).Array[1, 8].Sample(texts =>
            Assert.Equal(NaiveMerges(texts, 12), Tokens(ByteLevelBpeTrainer.Train(texts, 256 + 12, [])).Skip(256)), iter: 300);
    }

    [Fact]
    public void What_is_saved_opens_again()
    {
        using var folder = new Fixtures.TemporaryFolder();
        var tokenizer = ByteLevelBpeTrainer.Train(Reviews, 330, modelMaxLength: 128);
        tokenizer.SavePretrained(folder.Path);
        var whole = AutoTokenizer.FromPretrained(folder.Path);
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        var parts = AutoTokenizer.FromPretrained(folder.Path);
        foreach (var opened in new[] { whole, parts })
        {
            Assert.Equal(Tokens(tokenizer), Tokens(opened));
            Assert.Equal(128, opened.ModelMaxLength);
            Assert.Equal(tokenizer.EosTokenId, opened.EosTokenId);
            foreach (var text in Reviews)
                Assert.Equal(tokenizer.Encode(text), opened.Encode(text));
        }
    }

    [Fact]
    public void Impossible_requests_are_refused()
    {
        Assert.Throws<ArgumentException>(() => ByteLevelBpeTrainer.Train([], 256));
        Assert.Throws<ArgumentException>(() => ByteLevelBpeTrainer.Train([], 300, ["<s>", "<s>"]));
        Assert.Throws<ArgumentException>(() => ByteLevelBpeTrainer.Train([], 300, [""]));
    }

    private static IEnumerable<string> Tokens(ITokenizer tokenizer) =>
        Enumerable.Range(0, tokenizer.VocabSize).Select(tokenizer.IdToToken);

    /// <summary>Counts all pairs again before each merge; of equal counts the pair with the lower ids wins.</summary>
    private static List<string> NaiveMerges(string[] texts, int count)
    {
        List<string> ids = ["a", "b", "c", "Ġ"];
        var words = texts.SelectMany(t => System.Text.RegularExpressions.Regex.Matches(t, @" ?[abc]+|\s+(?!\S)|\s+"))
            .Select(m => m.Value.Select(c => c == ' ' ? "Ġ" : c.ToString()).ToList()).ToList();
        var learnt = new List<string>();
        while (learnt.Count < count)
        {
            var best = words.SelectMany(w => w.Zip(w.Skip(1))).GroupBy(p => p).Where(g => g.Count() >= 2)
                .OrderByDescending(g => g.Count()).ThenBy(g => ids.IndexOf(g.Key.First)).ThenBy(g => ids.IndexOf(g.Key.Second))
                .FirstOrDefault();
            if (best is null)
                break;
            var (left, right) = best.Key;
            if (!ids.Contains(left + right))
            {
                ids.Add(left + right);
                learnt.Add(left + right);
            }
            foreach (var word in words)
                for (int i = 0; i + 1 < word.Count; i++)
                    if (word[i] == left && word[i + 1] == right)
                    {
                        word[i] = left + right;
                        word.RemoveAt(i + 1);
                    }
        }
        return learnt;
    }
}
