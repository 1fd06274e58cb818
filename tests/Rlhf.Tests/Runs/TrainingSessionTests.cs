using Microsoft.Extensions.Logging;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tests.Training.Loop;
using Rlhf.Tracking;
using Rlhf.Training;
using Rlhf.Training.Loop;
using Point = Rlhf.Tests.Training.Loop.OwnAlgorithmTests.Point;

namespace Rlhf.Tests.Runs;

/// <summary>A program's own algorithm as a run like any other: locked, logged, saved, resumed and reported.</summary>
public sealed class TrainingSessionTests : IDisposable
{
    private static readonly TrainingKind Kind = new("line-fit", "line fitting");
    private static readonly Point[] Points = [.. Enumerable.Range(-5, 11).Select(i => new Point(i / 5f, 3 * i / 5f - 1))];
    private static readonly OwnAlgorithmTests.LineConfig Config = new() { NumTrainEpochs = 7, Noise = 0.5, Seed = 3, EvalSteps = 5 };
    private readonly Fixtures.TemporaryFolder place = new();

    public TrainingSessionTests()
    {
        LibTorch.Initialize();
        TrainingKinds.Register(Kind);
    }

    public void Dispose() => place.Dispose();

    private string Folder => Path.Combine(place.Path, "run");

    /// <summary>One session of a run of 21 steps, stopped after a step or not at all.</summary>
    private IReadOnlyList<double> Session(string folder, int? stopAt = null, OwnAlgorithmTests.LineConfig? config = null,
        Func<SessionOptions, SessionOptions>? change = null)
    {
        config ??= Config;
        using var line = new OwnAlgorithmTests.Line(config);
        using var trainer = new EpochTrainer<Point>(line, config);
        using var stop = new CancellationTokenSource();
        SessionOptions options = new(folder) { Resume = true, SaveEvery = 4, Settings = [config], Command = "my program", Device = "CPU" };
        using var session = TrainingSession.Open(Kind, change?.Invoke(options) ?? options);
        List<double> losses = [];
        long steps = config.TotalSteps(Points.Length);
        var last = session.Train(trainer, _ => { }, steps, sinks => trainer.Train(Points, Points, state =>
        {
            losses.Add(state.Loss);
            sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, state.Scalars()));
            session.AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
            if (state.Step == stopAt)
                stop.Cancel();
        }, stop.Token), stop.Token);
        session.Finish(last.Step >= steps, new { Steps = last.Step, Seconds = session.Elapsed.TotalSeconds, EvalLoss = last.Evaluation?.Loss });
        return losses;
    }

    [Fact]
    public void AStoppedRunIsResumedBitForBitAndReported()
    {
        var whole = Session(Path.Combine(place.Path, "whole"));
        var first = Session(Folder, stopAt: 10);
        Assert.Equal((RunState.Stopped, false), (RunInfo.Load(Folder)!.State, RunFiles.IsFinished(Folder)));
        Assert.Equal(whole, first.Concat(Session(Folder)));
        Assert.Equal(21, whole.Count);

        var info = RunInfo.Load(Folder)!;
        Assert.Equal(("line-fit", 21L, RunState.Finished), (info.Verb, info.Steps, info.State));
        Assert.Equal([null, 10L], info.Sessions.Select(s => s.ResumedAfter));
        Assert.True(RunFiles.IsFinished(Folder));
        var run = RunData.Load(Folder);
        Assert.Equal(Enumerable.Range(1, 21).Select(i => (long)i), run.Metric("train/loss").Steps);
        Assert.Equal(whole, run.Metric("train/loss").Values);
        var verdict = RunVerdict.Of(run);
        Assert.Equal(Outcome.Improved, verdict.Outcome);
        Assert.StartsWith("Loss on held-out data fell from", verdict.Sentence);
        Assert.Contains("line fitting", RunReport.Of(run, []));
    }

    [Fact]
    public void SettingsThatMayNotChangeAreRefusedByName()
    {
        Session(Folder, stopAt: 3);
        var refused = Assert.Throws<ConfigurationException>(() => Session(Folder, config: Config with { BatchSize = 2, Noise = 0 }));
        Assert.Equal(["BatchSize is 2, and the run began with 4.", "Noise is 0, and the run began with 0.5."], refused.Problems.Take(2).Order());
        Session(Folder, stopAt: 5, config: Config with { LearningRate = 0.01 });
        Assert.Equal(6, Session(Folder, config: Config with { MaxSteps = 11, LearningRate = 0.01 }).Count); // a constant rate does not depend on the length
    }

    [Fact]
    public void AFolderIsOneRunsAndOneProcess()
    {
        Session(Folder, stopAt: 3);
        Assert.Contains("already holds a run", Refused(new(Folder)));
        using (TrainingSession.Open(Kind, new(Folder) { Resume = true, Settings = [Config] }))
            Assert.Contains("is in use by process", Refused(new(Folder) { Resume = true, Settings = [Config] }));
        Assert.Contains("is a run of line-fit", Assert.Throws<ConfigurationException>(() =>
            TrainingSession.Open(new("other", "other"), new(Folder) { Resume = true })).Message);
        File.WriteAllText(Path.Combine(place.Path, "mine.txt"), "mine");
        Assert.Contains("already holds files", Refused(new(place.Path) { Resume = true }));
        Assert.Equal("mine", File.ReadAllText(Path.Combine(place.Path, "mine.txt")));
    }

    [Fact]
    public void AFolderInWhichARunWasKilledBeforeItBeganIsFree()
    {
        File.WriteAllText(Path.Combine(place.Path, ".lock-owner.abcdefgh.xyz.tmp"), "");
        TrainingSession.Open(Kind, new(place.Path) { Settings = [Config] }).Dispose();
    }

    [Fact]
    public void ARunThatFailsSaysSoAndIsLogged()
    {
        using var log = new ListLog();
        using var line = new OwnAlgorithmTests.Line(Config);
        using var trainer = new EpochTrainer<Point>(line, Config);
        using (var session = TrainingSession.Open(Kind, new(Folder) { LoggerFactory = log }))
            Assert.Throws<TrainingDivergedException>(() => session.Train<int>(trainer, _ => { }, 5, _ => throw new TrainingDivergedException(1, "loss NaN", "Lower LearningRate.")));
        Assert.Equal((RunState.Failed, "Training diverged at step 1: loss NaN. Lower LearningRate."), (RunInfo.Load(Folder)!.State, RunInfo.Load(Folder)!.Message));
        Assert.Contains(log.Lines, l => l.StartsWith("Error: The run failed after step 0", StringComparison.Ordinal));
    }

    private static string Refused(SessionOptions options) =>
        Assert.Throws<ConfigurationException>(() => TrainingSession.Open(Kind, options)).Message;

    private sealed class ListLog : ILoggerFactory, ILogger
    {
        public List<string> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public void Dispose()
        {
        }

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Add($"{logLevel}: {formatter(state, exception)}");
    }
}
