using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;
using TorchSharp;

namespace Rlhf.Cli.Rewards;

/// <summary>The rewards of a command: what --reward names, found and described before anything is loaded.</summary>
internal sealed class RewardSet
{
    private readonly (RewardSpec Spec, string? Folder)[] parts;
    private readonly ScoringFlags flags;

    private RewardSet((RewardSpec, string?)[] parts, ScoringFlags flags) => (this.parts, this.flags) = (parts, flags);

    /// <summary>Finds the models and files.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="shipped">The model that ships and stands in where nothing is named; null: something must be.</param>
    /// <param name="model">What --reward-model names, where a verb has that.</param>
    /// <exception cref="ConfigurationException">A model is not found, or nothing is named.</exception>
    public static RewardSet Find(VerbContext context, string? shipped, string? model = null)
    {
        var flags = context.Settings.Get<ScoringFlags>();
        if (flags.Specs is { Length: > 0 } specs)
            return new([.. specs.Select(s => (s, s.Kind == RewardKind.Model ? ModelFolders.Resolve(context, "--reward", s.Argument) : null))], flags);
        if (shipped is null && model is null)
            throw new ConfigurationException(["--reward is missing; name a reward model, a classifier, or a rule such as exact-match:COLUMN."]);
        string folder = ModelFolders.ResolveOrShipped(context, "--reward-model", model, shipped!);
        return new([(new(RewardKind.Model, folder, 1), folder)], flags);
    }

    /// <summary>Folders of the models among them.</summary>
    public IEnumerable<string> Folders => parts.Select(p => p.Folder).OfType<string>();

    /// <summary>Is it one that ships and nothing else?</summary>
    public bool IsShipped(string name) => parts is [{ Folder: { } folder }] && ModelFolders.IsShipped(folder, name);

    /// <summary>The rewards as a settings file names them.</summary>
    public string Places => string.Join(Settings.RepeatedAttribute.Separator,
        parts.Select(p => (p.Folder is null ? p.Spec : p.Spec with { Argument = ModelFolders.PlaceOf(p.Folder) }).ToString()));

    /// <summary>The rewards in words.</summary>
    public string Names => string.Join(" + ", parts.Select(p => (p.Folder is null ? p.Spec : p.Spec with { Argument = ModelFolders.NameOf(p.Folder) }).ToString()));

    /// <summary>What decides the scores, to notice on resuming that it has changed.</summary>
    public string Fingerprinted => Fingerprint.OfTexts(parts.SelectMany(p => (string[])
        [(p.Folder is null ? p.Spec : p.Spec with { Argument = "" }).ToString(), p.Folder is null ? "" : Fingerprint.OfModel(p.Folder), p.Spec.Content is { } file ? File.ReadAllText(file) : ""]));

    /// <summary>Loads, compiles and prepares them.</summary>
    /// <exception cref="ConfigurationException">A file has errors.</exception>
    public IRewardFunction Load(torch.Device device)
    {
        List<WeightedComponent> made = [];
        try
        {
            foreach (var (spec, folder) in parts)
            {
                var reward = Load(spec, folder, device);
                int same = made.Count(m => m.Reward.Name == reward.Name || m.Reward.Name.StartsWith(reward.Name + "_", StringComparison.Ordinal));
                made.Add(new(same == 0 ? reward : new RenamedReward(reward, $"{reward.Name}_{same + 1}"), spec.Weight));
            }
            return made is [{ Weight: 1 } only] ? only.Reward : new WeightedReward(made);
        }
        catch
        {
            made.ForEach(m => m.Reward.Dispose());
            throw;
        }
    }

    /// <summary>Refuses prompts that lack a column which a reward compares with.</summary>
    /// <exception cref="ConfigurationException">One does.</exception>
    public void CheckColumns(IEnumerable<Query> queries, string source)
    {
        foreach (var column in parts.Select(p => p.Spec.Column).OfType<string>().Distinct())
            if (queries.FirstOrDefault(q => !q.Fields.ContainsKey(column)) is { } lacking)
                throw new ConfigurationException([$"--reward compares with the column {UntrustedText.Quote(column)}, which {source} lacks"
                    + (lacking.Fields.Count == 0 ? ": it has no columns beside the prompt. Give prompts with that column by --prompts."
                        : $"; beside the prompt it has {string.Join(", ", lacking.Fields.Keys.Take(20).Select(k => UntrustedText.Quote(k, 40)))}.")]);
    }

    private IRewardFunction Load(RewardSpec spec, string? folder, torch.Device device) => spec.Kind switch
    {
        RewardKind.Model => AutoReward.FromPretrained(folder!, device, flags.RewardLabel is { } label && HasLabels(folder!) ? label : null),
        RewardKind.Length => spec.Argument.Length == 0 ? VerifierReward.Length() : VerifierReward.Length(int.Parse(spec.Argument)),
        RewardKind.Regex => VerifierReward.Matches(spec.Argument),
        RewardKind.JsonSchema => JsonSchemaReward.FromFile(spec.Argument),
        RewardKind.ExactMatch => VerifierReward.ExactMatch(spec.Argument),
        RewardKind.NumberMatch => VerifierReward.NumberMatch(spec.Argument),
        RewardKind.Http => new HttpReward(new Uri(spec.Argument)) { Timeout = flags.Timeout },
        RewardKind.Exec => ExecReward.FromCommandLine(spec.Argument, flags.Timeout),
        RewardKind.Script => new ScriptReward(spec.Argument),
        _ => throw new InvalidOperationException($"There is no reward {spec.Kind}."),
    };

    private static bool HasLabels(string folder) => AutoModelForSequenceClassification.Labels(folder) is { Count: > 1 };

    /// <summary>The second of two rewards of a kind under a name of its own.</summary>
    private sealed class RenamedReward(IRewardFunction reward, string name) : IRewardFunction
    {
        public string Name => name;

        public ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
            reward.ScoreAsync(completions, cancellation);

        public void Dispose() => reward.Dispose();
    }
}
