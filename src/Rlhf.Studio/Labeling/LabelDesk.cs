namespace Rlhf.Studio.Labeling;

/// <summary>Holds what is being labeled, so that several people, or visits of the page, work on the same.</summary>
public sealed class LabelDesk(PairSources sources, StudioOptions options)
{
    private readonly Lock opening = new();
    private readonly Dictionary<(string Labels, DateTime Written), LabelProject> projects = [];

    /// <summary>The pairs that there are.</summary>
    public IReadOnlyList<PairSource> Sources => sources.List();

    /// <summary>Opens a source; null: there is no such source.</summary>
    /// <param name="key">Its <see cref="PairSource.Key"/>.</param>
    /// <inheritdoc cref="LabelProject.Open" path="/exception"/>
    public LabelProject? Open(string key)
    {
        if (sources.Find(key) is not { } source)
            return null;
        lock (opening)
        {
            // Pairs that were sampled anew under the same name are another work.
            var name = (source.Labels, File.GetLastWriteTimeUtc(source.Pairs));
            if (projects.TryGetValue(name, out var known) && known.IsWhole)
                return known;
            return projects[name] = LabelProject.Open(source, options.RepeatEvery);
        }
    }
}
