using Rlhf.Data;
using Rlhf.Runtime;
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
