using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Benchmarks;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Data.Batching;
using Rlhf.Hub;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Training.Ppo;

namespace Rlhf.Cli.Verbs;

/// <summary>Size of the workload.</summary>
internal sealed record BenchFlags
{
    [Description("Shape of the model: gpt2 (124M), smollm2-135m, qwen2.5-0.5b, tiny (the model that ships), or the config.json of a "
        + "folder or of org/name.")]
    [ValueName("gpt2|smollm2-135m|qwen2.5-0.5b|tiny|DIR")]
    public string Model { get; init; } = "gpt2";

    [Description("Measure these parts one by one (sft, sft-lora, generate, ppo, dpo, grpo; separated by commas) on rows of --length tokens; "
        + "default: the lesson's steps of sampling, classifying and PPO.")]
    [ValueName("LIST")]
    public string? Parts { get; init; }

    [Description("With --parts: number of rows.")]
    public int Rows { get; init; } = 8;

    [Description("With --parts: tokens of each row, the upper bound excluded.")]
    [ValueName("MIN..MAX")]
    public string Length { get; init; } = "64..257";

    [Description("With --parts: tokens of an answer.")]
    public int Answer { get; init; } = 96;

    [Description("Shape of the reward classifier: distilbert (66M), tiny, or the config.json of a folder or of org/name.")]
    [ValueName("distilbert|tiny|DIR")]
    public string Reward { get; init; } = "distilbert";

    [Description("Queries per step.")]
    public int Batch { get; init; } = 32;

    [Description("Queries per minibatch.")]
    public int Mini { get; init; } = 16;

    [Description("Optimization passes over each batch.")]
    public int Epochs { get; init; } = 4;

    [Description("Steps that count, after one that warms up.")]
    public int Steps { get; init; } = 3;

    [Description("Query lengths in tokens, the upper bound excluded.")]
    [ValueName("MIN..MAX")]
    public string Query { get; init; } = "2..8";

    [Description("Response lengths in tokens, the upper bound excluded.")]
    [ValueName("MIN..MAX")]
    public string Response { get; init; } = "4..16";

    [Description("Without the shortcuts: one query at a time, the rollout's logprobs computed anew, blocks and products of "
        + "libtorch's own.")]
    public bool ReferencePath { get; init; }

    [Description("Seed of weights and tokens.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Batch < 1 || Mini < 1 || Batch % Math.Max(1, Mini) != 0) yield return $"Batch {Batch} is no multiple of Mini {Mini}.";
        if (Epochs < 1) yield return $"Epochs is {Epochs}; it must be at least 1.";
        if (Steps < 1) yield return $"Steps is {Steps}; it must be at least 1.";
        if (Range(Query, minimum: 1) is null) yield return $"Query is {Query}; write two numbers such as 2..8, the first at least 1.";
        if (Range(Response, minimum: 1) is null)
            yield return $"Response is {Response}; write two numbers such as 4..16, the first at least 1.";
        if (Parts is not null && BenchmarkParts.Find(Parts) is null)
            yield return $"Parts is '{Parts}'; list some of {BenchmarkParts.Names}, separated by commas.";
        if (Parts is not null && ReferencePath) yield return "ReferencePath belongs to the lesson's steps; leave Parts out.";
        if (Rows < 1) yield return $"Rows is {Rows}; it must be at least 1.";
        if (Answer < 1) yield return $"Answer is {Answer}; it must be at least 1.";
        if (Range(Length, minimum: 2) is null) yield return $"Length is {Length}; write two numbers such as 64..257, the first at least 2.";
    }

    public static LengthSampler? Range(string text, int minimum) =>
        text.Split("..") is [var low, var high] && int.TryParse(low, NumberStyles.None, CultureInfo.InvariantCulture, out int from)
        && int.TryParse(high, NumberStyles.None, CultureInfo.InvariantCulture, out int to) && from >= minimum && to > from
            ? new LengthSampler(from, to) : null;
}

/// <summary>
/// <c>rlhf bench</c>: the lesson's workload, or parts of training one by one, on random weights, against what the machine can do.
/// </summary>
internal static class BenchVerb
{
    public static Command Create() => new VerbCommand(
        "bench", "measures PPO's phases at a chosen size, against the machine's own matrix product rate.",
        [
            "rlhf bench --model tiny --reward tiny", "rlhf bench --batch 128 --mini 128 --steps 1 --json",
            "rlhf bench --model smollm2-135m --parts sft,generate,ppo",
        ],
        new SettingsBinder()
            .Add("Workload", new BenchFlags(), o => o.Validate())
            .Add("Memory", new MemoryFlags())
            .Add("Compute", new ComputeFlags(), o => o.Validate(), nameof(ComputeFlags.IgnoreMemory))
            .Check(s => s.Get<BenchFlags>().Parts is null && s.Get<MemoryFlags>() != new MemoryFlags()
                ? ["--recompute-activations and --base-dtype are for --parts; leave them out."] : [])
            .Check(s => s.Get<MemoryFlags>().BaseDtype != BaseStorage.Float32 && BenchmarkParts.Find(s.Get<BenchFlags>().Parts ?? "")?.Any(p => p.TrainsAllWeights) == true
                ? ["--base-dtype is for parts that train no weights of the model itself: sft-lora and generate."] : []),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, screen) = (context.Settings.Get<BenchFlags>(), context.Screen);
        var device = context.Settings.Get<ComputeFlags>().Start();
        if (options.Parts is not null)
            return RunParts(context, options, BenchmarkParts.Find(options.Parts)!, context.Settings.Get<MemoryFlags>().On(device));
        var benchmark = new PpoBenchmark
        {
            Policy = Policy(context, options.Model),
            Reward = Reward(context, options.Reward),
            Config = new PpoConfig
            {
                BatchSize = options.Batch,
                MiniBatchSize = options.Mini,
                PpoEpochs = options.Epochs,
                Seed = options.Seed,
            },
            Queries = BenchFlags.Range(options.Query, 1)!,
            Responses = BenchFlags.Range(options.Response, 1)!,
            Steps = options.Steps,
            ReferencePath = options.ReferencePath,
            Device = device,
        };
        var result = ProgressDisplay.Run(screen, "Measuring", "step", options.Steps + 1,
            display => benchmark.Run((step, _) => display.Report(step + 1), context.Stop));
        if (screen.Json)
            screen.WriteJson(Rounded(options, result));
        else
            screen.Write(Table(result));
        return ExitCode.Success;
    }

    private static int RunParts(VerbContext context, BenchFlags options, IReadOnlyList<BenchmarkPart> parts, ComputePlan plan)
    {
        var screen = context.Screen;
        var model = Policy(context, options.Model);
        int vocabulary = ModelShape.Of(model).VocabSize;
        var benchmark = new PartsBenchmark
        {
            Parts = parts,
            Workload = new PartWorkload
            {
                Model = model,
                Rows = PartWorkload.RandomRows(options.Seed, "bench rows", options.Rows, BenchFlags.Range(options.Length, 2)!, vocabulary),
                Queries = PartWorkload.RandomRows(options.Seed, "bench queries", options.Rows, new LengthSampler(16, 33), vocabulary),
                AnswerTokens = options.Answer,
                Epochs = options.Epochs,
                Steps = options.Steps,
                Seed = options.Seed,
                Plan = plan,
            },
            Rates = new MachineRates(plan.Device),
        };
        var result = ProgressDisplay.Run(screen, "Measuring", "step", benchmark.TotalSteps,
            display => benchmark.Run(done => display.Report(done), context.Stop));
        if (screen.Json)
            screen.WriteJson(PartsReport.Json(options, result));
        else
            screen.Write(PartsReport.Table(result));
        return ExitCode.Success;
    }

    internal static object Rounded(BenchFlags options, PpoBenchmarkResult r) => new
    {
        options.Model,
        options.Reward,
        options.Batch,
        options.Mini,
        options.Epochs,
        options.Steps,
        options.Query,
        options.Response,
        options.ReferencePath,
        Threads = TorchSharp.torch.get_num_threads(),
        r.GenerateS,
        r.RewardS,
        r.PpoStepS,
        r.ReferenceS,
        r.OptimizeS,
        r.ForwardS,
        r.HeadS,
        r.BackwardS,
        r.OptimizerS,
        r.TotalS,
        r.TokensPerSecond,
        r.GenerateTokensPerSecond,
        r.QueryTokens,
        r.ResponseTokens,
        r.PeakMemoryMib,
        r.LiveTensors,
        r.MatmulGflopsBefore,
        r.MatmulGflopsAfter,
        r.FastestMatmulGflopsBefore,
        r.FastestMatmulGflopsAfter,
        r.GenerateGflop,
        r.RewardGflop,
        r.PpoStepGflop,
        r.GenerateFraction,
        r.RewardFraction,
        r.PpoStepFraction,
        r.GenerateFractionOfFastest,
        r.RewardFractionOfFastest,
        r.PpoStepFractionOfFastest,
    };

    internal static ResultTable Table(PpoBenchmarkResult r)
    {
        static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
        var table = new ResultTable("phase")
        {
            Caption = $"2048³ float32 product: {Number(r.MatmulGflopsBefore, "F0")} GFLOP/s before, "
                + $"{Number(r.MatmulGflopsAfter, "F0")} after; "
                + $"the models' own: {Number(r.FastestMatmulGflopsBefore, "F0")}, {Number(r.FastestMatmulGflopsAfter, "F0")}\n"
                + $"{Number(r.GenerateTokensPerSecond, "N0")} response tokens/s generated, {Number(r.TokensPerSecond, "N0")} in all; "
                + $"{Number(r.PeakMemoryMib, "N0")} MiB at most",
        };
        table.Number("seconds").Number("GFLOP").Number("GFLOP/s").Number("of torch.mm").Number("of fastest");
        void Row(string phase, double seconds, double gflop) => table.AddRow(phase, Number(seconds, "F2"), Number(gflop, "N0"),
            Number(gflop / seconds, "N0"), Number(100 * gflop / seconds / r.MatmulGflops, "F0") + " %",
            Number(100 * gflop / seconds / r.FastestMatmulGflops, "F0") + " %");
        void Part(string part, double seconds) => table.AddRow(part, Number(seconds, "F2"), "", "", "", "");
        Row("generate", r.GenerateS, r.GenerateGflop);
        Row("reward", r.RewardS, r.RewardGflop);
        Row("PPO step", r.PpoStepS, r.PpoStepGflop);
        Part("  reference", r.ReferenceS);
        Part("  optimize", r.OptimizeS);
        Part("    forward", r.ForwardS);
        Part("    head", r.HeadS);
        Part("    backward", r.BackwardS);
        Part("    optimizer", r.OptimizerS);
        Row("all", r.TotalS, r.GenerateGflop + r.RewardGflop + r.PpoStepGflop);
        return table;
    }

    private static ModelConfig Policy(VerbContext context, string name) => KnownShapes.Find(name)
        ?? ModelConfig.Read(ModelFolders.Resolve(context, "--model", name, HubModelParts.Configuration));

    private static ModelConfig Reward(VerbContext context, string name) => KnownShapes.Find(name == "tiny" ? "tiny-reward" : name)
        ?? ModelConfig.Read(ModelFolders.Resolve(context, "--reward", name, HubModelParts.Configuration));
}
