using System.Diagnostics;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Models.Fused;
using Rlhf.Runtime;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using Rlhf.Training.Ppo;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Cli.Benchmarks;

/// <summary>The lesson's workload at a chosen size, on random weights: sample, classify, take a PPO step.</summary>
internal sealed class PpoBenchmark
{
    /// <summary>Shape of the policy.</summary>
    public ModelConfig Policy { get; init; } = KnownShapes.Find("gpt2")!;

    /// <summary>Shape of the reward classifier.</summary>
    public ModelConfig Reward { get; init; } = KnownShapes.Find("distilbert")!;

    /// <summary>PPO settings: batch, minibatch, epochs, seed.</summary>
    public PpoConfig Config { get; init; } = new();

    /// <summary>Query lengths in tokens.</summary>
    public LengthSampler Queries { get; init; } = QueryDataset.LessonLengths;

    /// <summary>Response lengths in tokens.</summary>
    public LengthSampler Responses { get; init; } = RolloutPlan.LessonLengths;

    /// <summary>Steps that count, after one that warms up.</summary>
    public int Steps { get; init; } = 3;

    /// <summary>
    /// Sample one query at a time, as the lesson's notebook does, compute the rollout's logprobs anew, and compose blocks and products of
    /// libtorch's own.
    /// </summary>
    public bool ReferencePath { get; init; }

    /// <summary>Where to compute.</summary>
    public Device Device { get; init; } = CPU;

    /// <summary>Edge of the matrices whose product's rate is measured.</summary>
    internal int MatmulSize { get; init; } = 2048;

    /// <summary>Runs the workload.</summary>
    /// <param name="progress">Called after each step with its number (0 is the warm-up) and its seconds.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public PpoBenchmarkResult Run(Action<int, double>? progress = null, CancellationToken cancellation = default)
    {
        var rates = new MachineRates(Device, MatmulSize);
        double before = rates.MatmulGflops(), fastestBefore = rates.FastestMatmulGflops();
        var (fusedBlocks, library) = (FusedBlocks.Enabled, MatrixProduct.Library);
        PpoBenchmarkResult result;
        try
        {
            if (ReferencePath)
                (FusedBlocks.Enabled, MatrixProduct.Library) = (false, MatrixLibrary.Default);
            result = RunSteps(progress, cancellation);
        }
        finally
        {
            (FusedBlocks.Enabled, MatrixProduct.Library) = (fusedBlocks, library);
        }
        return result with
        {
            MatmulGflopsBefore = before,
            MatmulGflopsAfter = rates.MatmulGflops(),
            FastestMatmulGflopsBefore = fastestBefore,
            FastestMatmulGflopsAfter = rates.FastestMatmulGflops(),
        };
    }

    private PpoBenchmarkResult RunSteps(Action<int, double>? progress, CancellationToken cancellation)
    {
        using var trunk = AutoModelForCausalLM.FromConfig(Policy, Device);
        trunk.Initialize(Config.Seed);
        using var policy = CausalLMWithValueHead.FromModel(trunk, Config.Seed);
        using var classifier = AutoModelForSequenceClassification.FromConfig(Reward, Device);
        classifier.Initialize(Config.Seed);
        classifier.Freeze();
        using var trainer = new PpoTrainer(policy, Config);
        var generator = new TextGenerator(policy);

        List<Step> steps = [];
        List<long> live = [];
        for (int i = 0; i <= Steps; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            var step = TakeStep(i, generator, classifier, trainer);
            progress?.Invoke(i, step.Total);
            if (i > 0)
                steps.Add(step);
            live.Add(Tensor.TotalCount);
        }
        double Median(Func<Step, double> value) => SampleStatistics.Of([.. steps.Select(value)]).Median;
        double responseTokens = steps.Average(s => s.Lengths.Responses.Sum());
        double total = Median(s => s.Total), generate = Median(s => s.Generate);
        return new PpoBenchmarkResult
        {
            GenerateS = generate,
            RewardS = Median(s => s.Reward),
            PpoStepS = Median(s => s.Ppo),
            ReferenceS = Phase("forward_pass"),
            OptimizeS = Phase("optimize_step"),
            ForwardS = Phase("optimize/forward"),
            HeadS = Phase("optimize/head"),
            BackwardS = Phase("optimize/backward"),
            OptimizerS = Phase("optimize/optimizer"),
            TotalS = total,
            TokensPerSecond = responseTokens / total,
            GenerateTokensPerSecond = responseTokens / generate,
            QueryTokens = steps.Average(s => s.Lengths.Queries.Sum()),
            ResponseTokens = responseTokens,
            PeakMemoryMib = MachineRates.PeakMemoryMib(),
            LiveTensors = live,
            GenerateGflop = steps.Average(s => GenerateFlops(s.Lengths)) / 1e9,
            RewardGflop = steps.Average(s => RewardFlops(s.Lengths)) / 1e9,
            PpoStepGflop = steps.Average(s => PpoFlops(s.Lengths)) / 1e9,
        };

        double Phase(string name) => Median(s => s.Phases["time/ppo/" + name]);
    }

    private Step TakeStep(int index, TextGenerator generator, SequenceClassifier classifier, PpoTrainer trainer)
    {
        var random = new RandomStream(Config.Seed, "bench").Fork(index);
        int[][] queries = [.. Queries.Sample(random, Config.BatchSize).Select(n => RandomIds(random, n, ModelShape.Of(Policy).VocabSize))];
        var lengths = Responses.Sample(random, Config.BatchSize);

        long start = Stopwatch.GetTimestamp();
        var generated = Generate(generator, queries, lengths, random);
        MachineRates.Synchronize(Device);
        double generate = Stopwatch.GetElapsedTime(start).TotalSeconds;

        start = Stopwatch.GetTimestamp();
        Classify(classifier, queries.Zip(generated.Responses, (q, r) => (int[])[.. q, .. r]), random);
        MachineRates.Synchronize(Device);
        double reward = Stopwatch.GetElapsedTime(start).TotalSeconds;

        var scores = Enumerable.Range(0, Config.BatchSize).Select(_ => (float)random.NextGaussian()).ToArray();
        start = Stopwatch.GetTimestamp();
        var statistics = trainer.Step(
            ReferencePath ? new Rollout(queries, generated.Responses)
            : generated.ToRollout(queries), scores);
        MachineRates.Synchronize(Device);
        return new Step(generate, reward, Stopwatch.GetElapsedTime(start).TotalSeconds,
            statistics.Seconds,
            new RowLengths([.. queries.Select(q => q.Length)], [.. generated.Responses.Select(r => r.Length)]));
    }

    private GenerationResult Generate(TextGenerator generator, int[][] queries, int[] lengths, RandomStream random)
    {
        var config = new GenerationConfig { EosTokenId = -1 };
        if (!ReferencePath)
            return generator.Generate(queries, config, lengths, random);
        var single = queries.Select((query, row) => generator.Generate([query], config, [lengths[row]], random, firstRow: row)).ToArray();
        return new GenerationResult([.. single.Select(s => s.Responses[0])], [.. single.Select(s => s.Logprobs[0])],
            [.. single.Select(s => s.Values![0])], [.. single.Select(s => s.EndedByEos[0])], FromPolicy: true);
    }

    /// <summary>The classifier over rows of as many tokens as query and response have, with its two special tokens.</summary>
    private void Classify(SequenceClassifier classifier, IEnumerable<int[]> texts, RandomStream random)
    {
        using var inference = inference_mode();
        foreach (var rows in texts.Select(t => RandomIds(random, t.Length + 2, ModelShape.Of(Reward).VocabSize))
            .OrderByDescending(r => r.Length).Chunk(16))
        {
            using var scope = NewDisposeScope();
            using var batch = PackedBatch.FromRows(rows, Device);
            classifier.Forward(batch).cpu();
        }
    }

    private double GenerateFlops(RowLengths lengths) =>
        // The last response token is sampled, but never read.
        UsefulFlops.Trunk(ModelShape.Of(Policy), lengths.Both.Select(t => t - 1)) + UsefulFlops.Head(ModelShape.Of(Policy), lengths.Responses.Sum());

    private double RewardFlops(RowLengths lengths) => UsefulFlops.Trunk(ModelShape.Of(Reward), lengths.Both.Select(t => t + 2));

    private double PpoFlops(RowLengths lengths)
    {
        double forward = UsefulFlops.Trunk(ModelShape.Of(Policy), lengths.Both) + UsefulFlops.Head(ModelShape.Of(Policy), lengths.Responses.Sum());
        return forward * (1 + (ReferencePath ? 1 : 0) + 3 * Config.PpoEpochs);
    }

    private static int[] RandomIds(RandomStream random, int count, int vocabulary) =>
        [.. Enumerable.Range(0, count).Select(_ => random.NextInt32(0, vocabulary))];

    private sealed record RowLengths(int[] Queries, int[] Responses)
    {
        public IEnumerable<int> Both => Queries.Zip(Responses, (q, r) => q + r);
    }

    private sealed record Step(double Generate, double Reward, double Ppo, IReadOnlyDictionary<string, double> Phases, RowLengths Lengths)
    {
        public double Total => Generate + Reward + Ppo;
    }
}
