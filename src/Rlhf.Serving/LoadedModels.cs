using Rlhf.Generation;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>Models that are loaded once and served until the end.</summary>
internal sealed class LoadedModels : IServedModels, IDisposable
{
    private readonly List<string> names = [];
    private readonly Dictionary<string, (TextCompleter Completer, ChatTemplate? Template)> models = [];

    public string NothingYet => "There is no model.";

    /// <summary>What writes, by the models' names.</summary>
    public IReadOnlyDictionary<string, TextCompleter> Completers => models.ToDictionary(m => m.Key, m => m.Value.Completer);

    /// <summary>Adds a model, which is disposed with this.</summary>
    /// <param name="name">Its name in the API.</param>
    /// <param name="completer">Writes with it.</param>
    /// <param name="template">Its chat template; null: it has none.</param>
    public void Add(string name, TextCompleter completer, ChatTemplate? template)
    {
        models.Add(name, (completer, template));
        names.Add(name);
    }

    public IReadOnlyList<string> Names() => names;

    public Task<ServedModel> TakeAsync(string name, CancellationToken cancellation) =>
        Task.FromResult(new ServedModel(name, models[name].Completer, models[name].Template));

    /// <summary>Ends the models; answers that are not whole fail.</summary>
    public void Dispose()
    {
        foreach (var (completer, _) in models.Values)
            completer.Dispose();
    }
}
