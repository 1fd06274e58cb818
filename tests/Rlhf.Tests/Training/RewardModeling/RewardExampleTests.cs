using Rlhf.Data;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Training.RewardModeling;
using TorchSharp;

namespace Rlhf.Tests.Training.RewardModeling;

public class RewardExampleTests
{
    private static readonly string[] Words = [.. Enumerable.Range(0, 100).Select(i => $"w{i}")];

    [Fact]
    public void Texts_are_cut_to_the_first_tokens_that_fit()
    {
        var examples = new RewardExamples(new ToyTokenizer(Words), maxLength: 5);
        var encoded = examples.Encode([new Review("w0 w1 w2 w3 w4 w5", 1), new Review("w7", 0)]);
        using var batch = examples.Pack(encoded, torch.CPU);
        Assert.Equal([1, 3, 4, 5, 2, 1, 10, 2], batch.HostIds);
        Assert.Equal([0, 5, 8], batch.Offsets);
    }

    [Fact]
    public void Rejected_texts_follow_all_chosen_ones()
    {
        var examples = new RewardExamples(new ToyTokenizer(Words), maxLength: 50);
        var encoded = examples.Encode([new PreferencePair("w0 ", "w1", "w2"), new PreferencePair("w3 ", "w4", "w5 w6")]);
        using var batch = examples.Pack(encoded, torch.CPU);
        Assert.Equal([1, 3, 4, 2, 1, 6, 7, 2, 1, 3, 5, 2, 1, 6, 8, 9, 2], batch.HostIds);
    }

    [Theory]
    [InlineData("w0 w1 w2 w3 w4 ", "w5 w6 w7", "2 3 4 5 6 7")] // the prompt loses its beginning
    [InlineData("w0 w1 ", "w2 w3 w4 w5 w6 w7 w8 w9", "2 3 4 5 6 7")] // an answer too long for itself loses its end
    [InlineData("", "w0 w1 w2 w3 w4 w5 w6", "0 1 2 3 4 5")]
    [InlineData("w0 w1 w2 w3 w4 w5 w6 w7 ", "", "2 3 4 5 6 7")]
    [InlineData("w0 w1 w2 w3 w4 w5 w", "6 w7", "2 3 4 5 6 7")] // a word across the border
    [InlineData("w0 w1 w2 w3 w4 w1", "5 w6 w7 w8 w9 w10 w11", "15 6 7 8 9 10")] // is the answer's
    [InlineData("w0 w1 w2 ", "w3 w4 w5", "0 1 2 3 4 5")]
    public void What_is_read_of_a_prompt_and_its_answer_is_the_answer(string prompt, string answer, string words)
    {
        int[] expected = [1, .. words.Split(' ').Select(w => int.Parse(w) + 3), 2];
        var tokenizer = new ToyTokenizer(Words);
        var examples = new RewardExamples(tokenizer, maxLength: 8);
        using var batch = examples.Pack(examples.Encode([new PreferencePair(prompt, answer, answer)]), torch.CPU);
        Assert.Equal([.. expected, .. expected], batch.HostIds);
        // A reward model reads it as it learnt it.
        Assert.Equal(expected, tokenizer.EncodeCompletion(prompt, answer, 8));
    }

    [Theory]
    [InlineData("w0 w1 w2 w3 w4 w5 w6 w7 w8 ", "w9", "w10", true)]
    [InlineData("w0 ", "w1 w2 w3 w4 w5 w6 w7", "w1 w2 w3 w4 w5 w6 w8", false)]
    [InlineData("w0 ", "w1 w2 w3 w4 w5 w7 w6", "w1 w2 w3 w4 w5 w8 w6", true)]
    [InlineData("w0 ", "w1", "w1 w1", true)]
    [InlineData("w0 ", "w1", "w1", false)]
    public void A_pair_tells_something_if_its_texts_differ_where_they_are_read(string prompt, string chosen, string rejected, bool tells)
    {
        var examples = new RewardExamples(new ToyTokenizer(Words), maxLength: 8);
        Assert.Equal(tells, examples.Encode([new PreferencePair(prompt, chosen, rejected)])[0].IsDistinguishable);
    }

    [Fact]
    public void Crops_are_stretches_of_4_to_40_tokens_from_anywhere()
    {
        var examples = new RewardExamples(new ToyTokenizer(Words), maxLength: 60);
        var text = examples.Encode([new Review(string.Join(' ', Words), 1)])[0];
        var stream = new RandomStream(3, "crop");
        var crops = Enumerable.Range(0, 2000).Select(i => text.Crop(1, stream.Fork(i)).Text).ToArray();
        Assert.Equal([.. Enumerable.Range(4, 37)], crops.Select(c => c.Length).Distinct().Order());
        Assert.Equal((0, 100), (crops.Min(c => c.Start), crops.Max(c => c.Start + c.Length)));
        Assert.All(crops, c => Assert.Equal(Enumerable.Range(c.Start + 3, c.Length), c.Span.ToArray()));
    }

    [Fact]
    public void Crops_happen_as_often_as_asked_and_never_leave_the_limit()
    {
        var examples = new RewardExamples(new ToyTokenizer(Words), maxLength: 12);
        var text = examples.Encode([new Review(string.Join(' ', Words), 1)])[0];
        var stream = new RandomStream(3, "crop");
        var crops = Enumerable.Range(0, 4000).Select(i => text.Crop(0.25, stream.Fork(i))).ToArray();
        Assert.InRange(crops.Count(c => !ReferenceEquals(c, text)), 880, 1120);
        Assert.All(crops, c => Assert.InRange(c.Text.Length, 4, 10));
        Assert.Equal(0, examples.Encode([new Review("", 1)])[0].Crop(1, stream).Text.Length);
    }
}
