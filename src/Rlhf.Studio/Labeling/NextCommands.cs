using System.Globalization;
using Rlhf.Runs;
using Rlhf.Runtime.Text;
using Rlhf.Studio.Runs;

namespace Rlhf.Studio.Labeling;

/// <summary>What comes after labeling: the commands, and trainings on the labels as runs.</summary>
public sealed class NextCommands(StudioOptions options, RunCatalog runs, RunActions actions)
{
    /// <summary>A reward model of fewer labels would hold out next to nothing.</summary>
    public const int FewestLabels = 10;

    /// <summary>A training on the labels.</summary>
    /// <param name="Verb">The command's verb.</param>
    /// <param name="Command">The whole command.</param>
    /// <param name="Run">The run that it makes.</param>
    /// <param name="Arguments">Its arguments with full paths and without the output.</param>
    public sealed record Training(string Verb, string Command, string Run, IReadOnlyList<string> Arguments);

    /// <summary>The commands for some labels.</summary>
    /// <param name="Reward">Trains a reward model.</param>
    /// <param name="Ppo">Aligns the language model with it.</param>
    /// <param name="Dpo">Aligns the language model to the pairs directly.</param>
    /// <param name="Kto">The same from the pairs' answers one by one.</param>
    /// <param name="Missing">
    /// The model that wrote the answers, where its folder was not found and <c>MODEL</c> stands in its place.
    /// </param>
    public sealed record Commands(Training Reward, string Ppo, Training Dpo, Training Kto, string? Missing);

    private const string Placeholder = "MODEL";

    /// <summary>Can the first one be started from here?</summary>
    public bool CanStart(Commands commands) => actions.CanStart && commands.Missing is null;

    /// <summary>Language models that the reward model can start from, by name: those of runs, and the one that ships.</summary>
    public IReadOnlyList<string> Models => [.. runs.List().Where(IsPolicy).Select(r => r.Id),
        .. options.ShippedModel is { } shipped ? [Path.GetFileName(shipped)] : Array.Empty<string>()];

    /// <summary>The commands for the labels of a project.</summary>
    /// <param name="project">What is labeled.</param>
    /// <param name="model">One of <see cref="Models"/>; null: the one that wrote the answers.</param>
    public Commands For(LabelProject project, string? model = null)
    {
        var (folder, isShipped) = ModelOf(model ?? project.Model);
        return For(project, folder, isShipped);
    }

    private static bool IsPolicy(RunListing run) => run.HasModel && TrainingKinds.Find(run.Verb)?.Makes == TrainingProduct.Policy;

    private Commands For(LabelProject project, string model, bool isShipped)
    {
        string stem = Path.GetFileNameWithoutExtension(project.Source.Labels);
        Training On(string verb, params string[] settings)
        {
            string run = Free($"{verb}-{stem}");
            string[] Arguments(Func<string, string> path) => ["--model", path(model), "--pairs", path(project.Source.Labels), "--eval-fraction", "0.15", .. settings];
            return new(verb, Line(verb, [.. Arguments(Short), "--output", Short(InRuns(run))]), run, Arguments(Path.GetFullPath));
        }
        var reward = On("reward", "--num-train-epochs", "3", "--learning-rate", "1e-4");
        // The shipped model is small, and its answers were cut at a length.
        string[] direct = isShipped ? ["--num-train-epochs", "2", "--learning-rate", "5e-5", "--append-end-token", "false"] : ["--learning-rate", "5e-6"];
        string[] ppo =
        [
            .. isShipped ? Array.Empty<string>() : ["--model", Short(model)], "--reward-model", Short(InRuns(reward.Run)),
            "--use-score-scaling", "--use-score-norm", "--output", Short(InRuns(Free($"ppo-{stem}"))),
        ];
        return new(reward, Line("ppo", ppo), On("dpo", direct), On("kto", direct),
            model == Placeholder ? project.Model ?? "the model that wrote the answers" : null);
    }

    /// <summary>Trains in a process of its own, which then is among the runs.</summary>
    public Task<ActionResult> StartAsync(Training training) => actions.StartAsync(training.Verb, training.Run, training.Arguments);

    // Pairs name their model as its folder is called. A shipped model is the default of rlhf ppo, with settings that suit it.
    private (string Folder, bool IsShipped) ModelOf(string? name)
    {
        bool isShipped = options.ShippedModel is { } shipped && (name is null || Path.GetFileName(shipped) == name);
        if (!isShipped && runs.List().FirstOrDefault(r => IsPolicy(r) && (r.Id == name || r.Name == name)) is { } run)
            return (InRuns(run.Id), false);
        return isShipped ? (options.ShippedModel!, true) : (Placeholder, false);
    }

    private string Free(string name) => Enumerable.Range(1, 1000)
        .Select(n => n == 1 ? name : string.Create(CultureInfo.InvariantCulture, $"{name}-{n}"))
        .FirstOrDefault(id => !Path.Exists(InRuns(id)) && !Path.Exists(InRuns(id + ".log"))) ?? name;

    private string InRuns(string id) => Path.Combine(runs.Folder, id);

    private static string Line(string verb, IEnumerable<string> arguments) =>
        $"rlhf {verb} {string.Join(' ', arguments.Select(ShellWord.Of))}";

    private static string Short(string path) => path == Placeholder ? path : Shell.Path(path);
}
