using Rlhf.Cli.Benchmarks;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Training.Memory;
using Rlhf.Training.Ppo;
using TorchSharp;

namespace Rlhf.Tests.Training.Memory;

public sealed class MemoryPlanTests
{
    private const long MiB = 1 << 20;

    private static readonly ModelShape Gpt2Small = new Gpt2Config().Shape;

    private static readonly ModelShape Gpt2WithoutDropout = new Gpt2Config { AttnPdrop = 0 }.Shape;

    private static readonly ModelShape SmolLM2 = ModelShape.Of(KnownShapes.Find("smollm2-135m")!);

    private static readonly ModelShape DistilBert = new DistilBertConfig { NumHiddenLayers = 6 }.Shape;

    /// <summary>Peaks of resident memory of the command with one thread, in MiB.</summary>
    public static TheoryData<string, double, double> Measured => new()
    {
        { "ppo, GPT-2 small and DistilBERT, 128 queries in minibatches of 128", 4597, Ppo(128, 128, null, 4, 16) },
        { "ppo, 32 in minibatches of 32", 3431, Ppo(32, 32, null, 4, 16) },
        { "ppo, 32 in minibatches of 32, 6 layers shared", 2049, Ppo(32, 32, 6, 4, 16) },
        { "ppo, 16 in minibatches of 16, responses of 60 to 99 tokens", 4206, Ppo(16, 16, null, 60, 100) },
        { "ppo, the models that ship, 64 in minibatches of 32", 723, Shipped() },
        { "sft, 4 rows of 256, dropout", 3944, Sft(Gpt2Small, 4, 256) },
        { "sft, 4 rows of 256", 2856, Sft(Gpt2WithoutDropout, 4, 256) },
        { "sft, 1 row of 1,024, dropout", 5195, Sft(Gpt2Small, 1, 1024) },
        { "sft, SmolLM2-135M, 4 rows of 256 (rlhf bench)", 3196, Sft(SmolLM2, 4, 256) },
        { "adapters on SmolLM2-135M, 8 rows of 64 to 256 (rlhf bench)", 2177, Adapters(ComputePlan.Default) },
        { "the same, recomputed", 1353, Adapters(new(torch.CPU, RecomputesActivations: true)) },
        { "the same, base in bfloat16", 1992, Adapters(new(torch.CPU, Base: BaseStorage.Bfloat16)) },
        { "the same, base in int8", 1822, Adapters(new(torch.CPU, Base: BaseStorage.Int8)) },
        { "the same, base in int8, recomputed", 861, Adapters(new(torch.CPU, RecomputesActivations: true, Base: BaseStorage.Int8)) },
        { "reward, 16 rows of 128, dropout", 3314, Reward(16, 128) },
        { "reward, 4 rows of 512, dropout", 3348, Reward(4, 512) },
    };

    [Theory]
    [MemberData(nameof(Measured))]
    public void ThePlanIsNearWhatWasMeasured(string run, double measured, double planned) =>
        Assert.True(planned / measured is > 0.85 and < 1.15,
            $"{run}: planned {planned:F0}, measured {measured:F0}: {planned / measured:P0}");

    [Fact]
    public void WeightsGradientsMomentsAndReferenceOfSeventyBillionParameters()
    {
        var size = (new Gpt2Config { NEmbd = 8192, NHead = 64, NLayer = 86, VocabSize = 32000, NPositions = 4096 }).Shape;
        // 86 · (12 D² + 13 D) + (V + P + 2) D, by hand.
        Assert.Equal(86 * (12L * 8192 * 8192 + 13 * 8192) + (32000 + 4096 + 2) * 8192L, size.Parameters);
        var plan = PpoMemory.Plan("PPO on big", new(), size, null, [], new LengthSampler(2, 8), new LengthSampler(4, 16), torch.CPU);
        Assert.Equal(16 * size.Parameters, plan.Items.Where(i => i.Name is "policy" or "gradients" or "Adam's moments").Sum(i => i.Bytes));
        Assert.Equal(4 * size.Parameters, plan.Items.Single(i => i.Name == "reference").Bytes);
        var error = Assert.Throws<ConfigurationException>(() => plan.ThrowIfTooLarge((24_000_000_000, "on this machine")));
        Assert.StartsWith("PPO on big needs about 1,4", error.Message, StringComparison.Ordinal);
        Assert.Contains("24.0 GB are free on this machine", error.Message, StringComparison.Ordinal);
        Assert.Contains("policy: 69,5", error.Message, StringComparison.Ordinal);
        Assert.Contains("MiniBatchSize (now 128", error.Message, StringComparison.Ordinal);
        plan.ThrowIfTooLarge((2_000_000_000_000, "on this machine"));
        plan.ThrowIfTooLarge(null);
    }

    [Fact]
    public void SizesAreThoseOfTheModelsThemselves()
    {
        var gpt2 = new Gpt2Config { VocabSize = 50, NPositions = 16, NEmbd = 24, NLayer = 3, NHead = 2, NInner = 40 };
        using (var model = new Gpt2LMHeadModel(gpt2))
            Assert.Equal(model.Parameters.ElementCount, gpt2.Shape.Parameters);
        var bert = new DistilBertConfig
        {
            VocabSize = 50,
            MaxPositionEmbeddings = 16,
            HiddenSize = 24,
            NumHiddenLayers = 3,
            NumAttentionHeads = 2,
            IntermediateSize = 40,
        };
        using (var model = new DistilBertForSequenceClassification(bert))
            // Without the head.
            Assert.InRange(bert.Shape.Parameters, model.Parameters.ElementCount - 2000, model.Parameters.ElementCount);
    }

    private static double Ppo(int batch, int mini, int? shared, int responseMin, int responseMax) => PpoMemory.Plan(
        "PPO", new PpoConfig { BatchSize = batch, MiniBatchSize = mini, NumSharedLayers = shared }, Gpt2Small, null, [DistilBert],
        new LengthSampler(2, 8), new LengthSampler(responseMin, responseMax), torch.CPU).TotalBytes / (double)MiB;

    private static double Shipped()
    {
        ModelShape Of(string name) => ModelShape.Of(Path.Combine(Fixtures.Repository(), "models", name));
        return PpoMemory.Plan("PPO", new PpoConfig { BatchSize = 64, MiniBatchSize = 32 }, Of("imdb-gpt2-tiny"), null,
            [Of("imdb-distilbert-tiny"), Of("imdb-bert-tiny")], new LengthSampler(2, 8), new LengthSampler(4, 16),
            torch.CPU).TotalBytes / (double)MiB;
    }

    private static double Sft(ModelShape model, int rows, int length) => MemoryPlan.ForTraining(
        "SFT", model, rows, [.. Enumerable.Repeat(length, rows)], torch.CPU, predictsTokens: true).TotalBytes / (double)MiB;

    private static double Adapters(ComputePlan plan)
    {
        var config = KnownShapes.Find("smollm2-135m")!;
        int[] rows = [.. PartWorkload.RandomRows(0, "bench rows", 8, new LengthSampler(64, 257), SmolLM2.VocabSize).Select(r => r.Length)];
        long adapter = LoraAdapter.CountParameters(config, new LoraConfig { R = 16, TargetModules = ModuleSelection.AllLinear });
        return MemoryPlan.ForTraining("SFT", SmolLM2, rows.Length, rows, plan, predictsTokens: true)
            .OfAdapter(SmolLM2.Parameters, adapter, plan.Base, ownsReference: false, samples: false, losesByToken: true).TotalBytes / (double)MiB;
    }

    private static double Reward(int rows, int length) => MemoryPlan.ForTraining(
        "Reward", DistilBert, rows, [.. Enumerable.Repeat(length, rows)], torch.CPU, predictsTokens: false).TotalBytes / (double)MiB;
}
