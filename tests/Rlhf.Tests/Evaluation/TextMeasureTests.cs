using Rlhf.Evaluation;

namespace Rlhf.Tests.Evaluation;

public class TextMeasureTests
{
    [Fact]
    public void Distinct_counts_different_ngrams_of_all_rows_together()
    {
        // Bigrams: (1 2) (2 1) (1 2) and (1 2) (2 3): 3 different of 5. Unigrams: 3 different of 7.
        int[][] rows = [[1, 2, 1, 2], [1, 2, 3]];
        Assert.Equal(3.0 / 5, Diversity.Distinct(rows, 2), 12);
        Assert.Equal(3.0 / 7, Diversity.Distinct(rows, 1), 12);
        // Trigrams: (1 2 1) (2 1 2) (1 2 3).
        Assert.Equal(1, Diversity.Distinct(rows, 3), 12);
    }

    [Fact]
    public void Ngrams_do_not_cross_rows() => Assert.Equal(1, Diversity.Distinct<int>([[1], [2], [1], [2]], 2), 12);

    [Fact]
    public void Words_ignore_case_and_white_space()
    {
        var rows = new[] { "Good film,  good\nfilm,", "good film," }.Select(Diversity.Words).ToArray();
        Assert.Equal(["good", "film,", "good", "film,"], rows[0]);
        // (good film,) (film, good) (good film,) and (good film,): 2 of 4.
        Assert.Equal(0.5, Diversity.Distinct(rows, 2), 12);
    }

    [Fact]
    public void Repetition_is_the_mean_share_of_ngrams_seen_before_in_their_row()
    {
        // Row 1: bigrams aa aa aa: 2 of 3 repeat. Row 2: none of 2 repeats. Row 3 holds no bigram and is not counted.
        Assert.Equal((2.0 / 3 + 0) / 2, Diversity.Repetition<string>([["a", "a", "a", "a"], ["a", "b", "c"], ["a"]], 2), 12);
        Assert.Equal(0, Diversity.Repetition<string>([["a"]], 2));
    }

    [Fact]
    public void An_ngram_has_at_least_one_item() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Diversity.Distinct<int>([[1, 2]], 0));

    [Fact]
    public void Perplexity_and_bits_follow_from_the_summed_nats()
    {
        // Four tokens of probability 1/8 each: 12 bits, over 6 characters in 8 bytes.
        var score = new LanguageModelScore(4 * Math.Log(8), 4, 6, 8);
        Assert.Equal(8, score.Perplexity, 12);
        Assert.Equal(Math.Log(8), score.NatsPerToken, 12);
        Assert.Equal(2, score.BitsPerCharacter, 12);
        Assert.Equal(1.5, score.BitsPerByte, 12);
    }

    [Fact]
    public void Scores_of_texts_add_up()
    {
        var sum = new LanguageModelScore(1.5, 2, 7, 8) + new LanguageModelScore(2.5, 3, 11, 13);
        Assert.Equal(new LanguageModelScore(4, 5, 18, 21), sum);
    }
}
