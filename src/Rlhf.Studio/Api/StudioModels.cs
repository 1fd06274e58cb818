using Rlhf.Serving;
using Rlhf.Studio.Playground;

namespace Rlhf.Studio.Api;

/// <summary>The models that the studio's API serves: those of the playground.</summary>
internal sealed class StudioModels(ModelChoices choices, ModelShelf shelf, StudioOptions options) : IServedModels
{
    public string NothingYet => "There is no model yet: train one with rlhf sft or rlhf ppo, or start the studio with --model.";

    public IReadOnlyList<string> Names() => [.. All().Select(model => model.Name)];

    public async Task<ServedModel> TakeAsync(string name, CancellationToken cancellation)
    {
        string folder = All().First(model => model.Name == name).Folder;
        var (loaded, loan) = await Task.Run(() => shelf.Lend(folder), cancellation);
        return new(name, loaded.Completer, loaded.Template, loan);
    }

    /// <summary>Aligned models, then what they are compared with, each under its name once; with neither, the model that ships.</summary>
    private List<(string Name, string Folder)> All()
    {
        var known = choices.List();
        if (known.Count == 0 && options.ShippedModel is { } shipped)
            return [(Path.GetFileName(Path.TrimEndingDirectorySeparator(shipped)), shipped)];
        return [.. known.Select(c => (c.Title, c.Aligned))
            .Concat(known.Where(c => c.Base is not null).Select(c => (c.BaseTitle, c.Base!)))
            .DistinctBy(m => m.Item1)];
    }
}
