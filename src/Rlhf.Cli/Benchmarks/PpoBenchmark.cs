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

/// <summary>What <see cref="PpoBenchmark"/> measured; times are medians over the steps after a warm-up step.</summary>
/// <param name="GenerateS">Seconds to sample a batch's responses.</param>
/// <param name="RewardS">Seconds to classify a batch.</param>
/// <param name="PpoStepS">Seconds of a PPO step.</param>
/// <param name="ReferenceS">Of which: the reference's forward pass, and the policy's where the rollout is not reused.</param>
/// <param name="OptimizeS">Of which: epochs of minibatches.</param>
/// <param name="ForwardS">Of the epochs: forward passes up to the last hidden states.</param>
/// <param name="HeadS">Of the epochs: the output layer, forward and backward.</param>
/// <param name="BackwardS">Of the epochs: the rest of the backward passes.</param>
/// <param name="OptimizerS">Of the epochs: clipping and Adam.</param>
/// <param name="TotalS">Seconds of all three.</param>
/// <param name="TokensPerSecond">Response tokens per second of the whole.</param>
/// <param name="GenerateTokensPerSecond">Response tokens per second of generation.</param>
/// <param name="QueryTokens">Query tokens of a batch, mean over steps.</param>
/// <param name="ResponseTokens">Response tokens of a batch, mean over steps.</param>
/// <param name="PeakMemoryMib">Largest resident memory of the process.</param>
/// <param name="LiveTensors">Live tensors after each step.</param>
/// <param name="MatmulGflopsBefore">Rate of a 2048³ float32 product of libtorch (torch.mm) in this process, before.</param>
/// <param name="MatmulGflopsAfter">The same, after.</param>
/// <param name="FastestMatmulGflopsBefore">Rate of that product as the models take it (<see cref="MatrixProduct"/>), before.</param>
/// <param name="FastestMatmulGflopsAfter">The same, after.</param>
/// <param name="GenerateGflop">Useful arithmetic of generation, mean over steps.</param>
/// <param name="RewardGflop">Useful arithmetic of the reward.</param>
/// <param name="PpoStepGflop">Useful arithmetic of the PPO step.</param>
internal sealed record PpoBenchmarkResult(
    double GenerateS, double RewardS, double PpoStepS, double ReferenceS, double OptimizeS, double ForwardS, double HeadS, double BackwardS,
    double OptimizerS, double TotalS, double TokensPerSecond,
    double GenerateTokensPerSecond, double QueryTokens, double ResponseTokens, double PeakMemoryMib, IReadOnlyList<long> LiveTensors,
    double MatmulGflopsBefore, double MatmulGflopsAfter, double FastestMatmulGflopsBefore, double FastestMatmulGflopsAfter,
    double GenerateGflop, double RewardGflop, double PpoStepGflop)
{
    /// <summary>Mean of the two matrix product rates.</summary>
    public double MatmulGflops => (MatmulGflopsBefore + MatmulGflopsAfter) / 2;

    /// <summary>Useful arithmetic of generation per second, over the matrix product rate.</summary>
    public double GenerateFraction => GenerateGflop / GenerateS / MatmulGflops;

    /// <summary>Useful arithmetic of the reward per second, over the matrix product rate.</summary>
    public double RewardFraction => RewardGflop / RewardS / MatmulGflops;

    /// <summary>Useful arithmetic of the PPO step per second, over the matrix product rate.</summary>
    public double PpoStepFraction => PpoStepGflop / PpoStepS / MatmulGflops;

    /// <summary>Mean of the two rates of the models' own product.</summary>
    public double FastestMatmulGflops => (FastestMatmulGflopsBefore + FastestMatmulGflopsAfter) / 2;

    /// <summary>Useful arithmetic of generation per second, over the rate of the models' own product.</summary>
    public double GenerateFractionOfFastest => GenerateGflop / GenerateS / FastestMatmulGflops;

    /// <summary>Useful arithmetic of the reward per second, over the rate of the models' own product.</summary>
    public double RewardFractionOfFastest => RewardGflop / RewardS / FastestMatmulGflops;

    /// <summary>Useful arithmetic of the PPO step per second, over the rate of the models' own product.</summary>
    public double PpoStepFractionOfFastest => PpoStepGflop / PpoStepS / FastestMatmulGflops;
}

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
        double before = MatmulGflops(), fastestBefore = FastestMatmulGflops();
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
            MatmulGflopsAfter = MatmulGflops(),
            FastestMatmulGflopsBefore = fastestBefore,
            FastestMatmulGflopsAfter = FastestMatmulGflops(),
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
        return new PpoBenchmarkResult(
            Median(s => s.Generate), Median(s => s.Reward), Median(s => s.Ppo), Median(s => s.Phases["time/ppo/forward_pass"]),
            Median(s => s.Phases["time/ppo/optimize_step"]), Median(s => s.Phases["time/ppo/optimize/forward"]),
            Median(s => s.Phases["time/ppo/optimize/head"]), Median(s => s.Phases["time/ppo/optimize/backward"]),
            Median(s => s.Phases["time/ppo/optimize/optimizer"]), Median(s => s.Total),
            responseTokens / Median(s => s.Total), responseTokens / Median(s => s.Generate),
            steps.Average(s => s.Lengths.Queries.Sum()), responseTokens, PeakMemoryMib(), live, 0, 0, 0, 0,
            steps.Average(s => GenerateFlops(s.Lengths)) / 1e9, steps.Average(s => RewardFlops(s.Lengths)) / 1e9,
            steps.Average(s => PpoFlops(s.Lengths)) / 1e9);
    }

    /// <summary>Rate of libtorch's 2048³ float32 matrix product on the benchmark's device, in GFLOP/s: the median of several.</summary>
    public double MatmulGflops(int repetitions = 9) => Rate(repetitions, (a, b, c) => c.addmm_(a, b, beta: 0, alpha: 1));

    /// <summary>The same of the product that the models take.</summary>
    public double FastestMatmulGflops(int repetitions = 9) => Rate(repetitions, (a, b, _) => MatrixProduct.Of(a, b).Dispose());

    private double Rate(int repetitions, Action<Tensor, Tensor, Tensor> multiply)
    {
        double n = MatmulSize;
        using var scope = NewDisposeScope();
        Tensor a = randn(MatmulSize, MatmulSize, device: Device), b = randn(MatmulSize, MatmulSize, device: Device), c = empty_like(a);
        var rates = new double[repetitions];
        for (int i = -2; i < repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            multiply(a, b, c);
            Synchronize();
            if (i >= 0)
                rates[i] = 2.0 * n * n * n / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9;
        }
        return SampleStatistics.Of(rates).Median;
    }

    private Step TakeStep(int index, TextGenerator generator, SequenceClassifier classifier, PpoTrainer trainer)
    {
        var random = new RandomStream(Config.Seed, "bench").Fork(index);
        int[][] queries = [.. Queries.Sample(random, Config.BatchSize).Select(n => RandomIds(random, n, ModelShape.Of(Policy).VocabSize))];
        var lengths = Responses.Sample(random, Config.BatchSize);

        long start = Stopwatch.GetTimestamp();
        var generated = Generate(generator, queries, lengths, random);
        Synchronize();
        double generate = Stopwatch.GetElapsedTime(start).TotalSeconds;

        start = Stopwatch.GetTimestamp();
        Classify(classifier, queries.Zip(generated.Responses, (q, r) => (int[])[.. q, .. r]), random);
        Synchronize();
        double reward = Stopwatch.GetElapsedTime(start).TotalSeconds;

        var scores = Enumerable.Range(0, Config.BatchSize).Select(_ => (float)random.NextGaussian()).ToArray();
        start = Stopwatch.GetTimestamp();
        var statistics = trainer.Step(
            ReferencePath ? new Rollout(queries, generated.Responses)
            : generated.ToRollout(queries), scores);
        Synchronize();
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

    private static double PeakMemoryMib()
    {
        using var process = Process.GetCurrentProcess();
        process.Refresh();
        return process.PeakWorkingSet64 / 1048576.0;
    }

    private void Synchronize()
    {
        if (Device.type == DeviceType.CUDA)
            cuda.synchronize();
    }

    private sealed record RowLengths(int[] Queries, int[] Responses)
    {
        public IEnumerable<int> Both => Queries.Zip(Responses, (q, r) => q + r);
    }

    private sealed record Step(double Generate, double Reward, double Ppo, IReadOnlyDictionary<string, double> Phases, RowLengths Lengths)
    {
        public double Total => Generate + Reward + Ppo;
    }
}
