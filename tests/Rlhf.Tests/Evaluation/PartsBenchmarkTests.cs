using System.Text.Json;
using Rlhf.Cli.Benchmarks;
using Rlhf.Cli.Verbs;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Models.Gpt2;
using Rlhf.Tests.Models;
using static TorchSharp.torch;

namespace Rlhf.Tests.Evaluation;

/// <summary>The parts of the benchmark at the smallest size: what they report, not how fast they are.</summary>
public sealed class PartsBenchmarkTests
{
    [Fact]
    public void EveryPartReportsItsNumbersUnderItsName()
    {
        var model = new Gpt2Config { VocabSize = 20, NPositions = 64, NEmbd = 8, NLayer = 2, NHead = 2 }.Config();
        int steps = 0;
        var benchmark = new PartsBenchmark
        {
            Parts = BenchmarkParts.All,
            Workload = new PartWorkload
            {
                Model = model,
                Rows = PartWorkload.RandomRows(0, "rows", 3, new LengthSampler(4, 12), 20),
                Queries = PartWorkload.RandomRows(0, "queries", 3, new LengthSampler(2, 5), 20),
                AnswerTokens = 4,
                Epochs = 2,
                Steps = 2,
            },
            Rates = new MachineRates(CPU, 32),
        };
        var result = benchmark.Run(done => steps = done, TestContext.Current.CancellationToken);
        Assert.Equal(benchmark.TotalSteps, steps);
        var json = JsonSerializer.SerializeToElement(PartsReport.Json(new BenchFlags(), result));
        foreach (string field in (string[])["sft_s", "sft_fraction_of_fastest", "generate_s", "generate_fraction_of_memory_rate", "ppo_s",
            "ppo_fraction_of_fastest", "peak_memory_mib", "fastest_matmul_gflops", "memory_gb_per_second"])
            Assert.True(json.GetProperty(field).GetDouble() > 0, field);
        Assert.Equal(BenchmarkParts.All.Count, PartsReport.Table(result).Count);
        Assert.All(result.Parts, p => Assert.Single(p.LiveTensors.Skip(1).Distinct()));
    }

    /// <summary>By hand: two matrices of attention's projections, keys and values for all heads, a gated layer; GPT-2's head is tied.</summary>
    [Fact]
    public void GenerationReadsEveryWeightOncePerToken()
    {
        var shape = ModelShape.Of(KnownShapes.Find("smollm2-135m")!);
        Assert.Equal(134_515_008, shape.Parameters);
        var workload = new PartWorkload
        {
            Model = new Gpt2Config { VocabSize = 20, NPositions = 64, NEmbd = 8, NLayer = 1, NHead = 2 }.Config(),
            Rows = [[1, 2]],
            Queries = [[1], [2]],
            AnswerTokens = 5,
        };
        using var run = new GeneratePart().Prepare(workload);
        // Embeddings, block (4 · 8 · 9 of attention, 2 · 8 · 32 + 40 of the feed-forward layer, two norms) and the last norm.
        Assert.Equal(5 * 4 * (20 * 8 + 64 * 8 + (288 + 552 + 32) + 16) / 1e9, run.Gigabytes!.Value, 1e-12);
        Assert.Equal(10, run.Tokens);
    }

    [Theory]
    [InlineData("sft", "sft")]
    [InlineData(" ppo , sft,ppo", "ppo sft")]
    [InlineData("sft,nothing", null)]
    [InlineData(",", null)]
    public void PartsAreFoundByName(string list, string? names) =>
        Assert.Equal(names, BenchmarkParts.Find(list) is { } parts ? string.Join(' ', parts.Select(p => p.Name)) : null);
}
