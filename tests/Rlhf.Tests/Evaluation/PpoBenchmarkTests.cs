using System.Text.Json;
using Rlhf.Cli.Benchmarks;
using Rlhf.Cli.Verbs;
using Rlhf.Models.Encoders;
using Rlhf.Models.Fused;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime.Operators;
using Rlhf.Tests.Models;
using Rlhf.Training.Ppo;

namespace Rlhf.Tests.Evaluation;

/// <summary>The benchmark at the smallest size: what it reports, not how fast it is.</summary>
[Collection(ShortcutCollection.Name)]
public sealed class PpoBenchmarkTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void EveryPhaseIsReportedAndSwitchesAreRestored(bool referencePath)
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        var result = Benchmark(referencePath).Run((_, _) =>
        {
            Assert.Equal(!referencePath, FusedBlocks.Enabled);
            Assert.Equal(referencePath ? MatrixLibrary.Default : Shortcuts.Libraries[^1], MatrixProduct.Library);
        });
        Assert.True(FusedBlocks.Enabled);
        Assert.Equal(Shortcuts.Libraries[^1], MatrixProduct.Library);

        // The parts are measured within the whole; at one step medians are that step's.
        Assert.InRange(result.ForwardS + result.HeadS + result.BackwardS + result.OptimizerS, 0, result.OptimizeS);
        Assert.InRange(result.ReferenceS + result.OptimizeS, 0, result.PpoStepS);
        Assert.All((double[])[result.ForwardS, result.HeadS, result.BackwardS, result.OptimizerS, result.MatmulGflopsBefore,
            result.MatmulGflopsAfter,
            result.FastestMatmulGflopsBefore, result.FastestMatmulGflopsAfter], v => Assert.True(v > 0));
        Assert.Equal(result.PpoStepGflop / result.PpoStepS / ((result.FastestMatmulGflopsBefore + result.FastestMatmulGflopsAfter) / 2),
            result.PpoStepFractionOfFastest, 1e-9);

        var json = JsonSerializer.SerializeToElement(BenchVerb.Rounded(new BenchFlags(), result),
            new JsonSerializerOptions { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower });
        foreach (string field in (string[])["generate_s", "reward_s", "ppo_step_s", "reference_s", "optimize_s", "forward_s",
            "head_s", "backward_s",
            "optimizer_s", "total_s", "matmul_gflops_before", "fastest_matmul_gflops_before", "fastest_matmul_gflops_after",
            "ppo_step_fraction",
            "generate_fraction_of_fastest", "reward_fraction_of_fastest", "ppo_step_fraction_of_fastest"])
            Assert.True(json.GetProperty(field).GetDouble() > 0, field);
        Assert.Equal(10, BenchVerb.Table(result).Count);
    }

    [Fact]
    public void SwitchesAreRestoredAfterAFailure()
    {
        using var shortcuts = new Shortcuts(fusedBlocks: true, Shortcuts.Libraries[^1]);
        Assert.Throws<InvalidOperationException>(() => Benchmark(referencePath: true).Run((_, _) => throw new InvalidOperationException()));
        Assert.True(FusedBlocks.Enabled);
        Assert.Equal(Shortcuts.Libraries[^1], MatrixProduct.Library);
    }

    private static PpoBenchmark Benchmark(bool referencePath) => new()
    {
        Policy = new Gpt2Config { VocabSize = 20, NPositions = 32, NEmbd = 8, NLayer = 2, NHead = 2 }.Config(),
        Reward = new DistilBertConfig
        {
            VocabSize = 20,
            MaxPositionEmbeddings = 32,
            HiddenSize = 8,
            NumHiddenLayers = 1,
            NumAttentionHeads = 2,
            IntermediateSize = 16,
        }.Config(),
        Config = new PpoConfig { BatchSize = 4, MiniBatchSize = 2, PpoEpochs = 2 },
        Steps = 1,
        ReferencePath = referencePath,
        MatmulSize = 32,
    };
}
