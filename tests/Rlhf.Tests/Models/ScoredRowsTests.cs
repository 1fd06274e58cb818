using Rlhf.Models;
using Rlhf.Models.Gpt2;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>Which positions predict the tokens that count, and what is summed over them.</summary>
public sealed class ScoredRowsTests
{
    [Fact]
    public void APositionPredictsTheTokenAfterIt()
    {
        using var scope = NewDisposeScope();
        using var rows = ScoredRows.Of(
        [
            new TokenRow([10, 11, 12, 13], [true, false, true, true]), // the first never counts: nothing precedes it
            new TokenRow([20, 21], [false, false]),
            TokenRow.Of([30, 31], [32]),
        ]);
        Assert.Equal([12L, 13, 32], rows.Targets.data<long>().ToArray());
        Assert.Equal([0, 2, 2, 3], rows.Offsets);
        var packed = arange(9, dtype: float32).unsqueeze(1);
        Assert.Equal([1f, 2, 7], rows.Hidden(packed).squeeze(1).data<float>().ToArray());
        Assert.Equal([3f, 0, 4], rows.SumPerRow(tensor(new float[] { 1, 2, 4 })).data<float>().ToArray());
        Assert.Equal([5f, 5, 7], rows.Spread(tensor(new float[] { 5, 6, 7 })).data<float>().ToArray());
        Assert.Equal([[1f, 2], [], [4]], rows.PerRow(tensor(new float[] { 1, 2, 4 })));
    }

    [Fact]
    public void AMaskOfAnotherLengthIsRefused()
    {
        var error = Assert.Throws<ArgumentException>(() => ScoredRows.Of([new TokenRow([1, 2, 3], [true])]));
        Assert.Contains("Row 0 has 3 tokens", error.Message);
    }

    [Fact]
    public void AModeEndsWithItsScopeAlsoAfterAnException()
    {
        using var model = new Gpt2LMHeadModel(new Gpt2Config { VocabSize = 8, NPositions = 4, NEmbd = 4, NLayer = 1, NHead = 1 });
        Assert.Throws<InvalidOperationException>(() =>
        {
            using var mode = model.InMode(training: true);
            Fail(model.Training);
        });
        Assert.False(model.Training);
        static void Fail(bool isTraining) => throw (isTraining ? new InvalidOperationException() : new ArgumentException());
    }
}
