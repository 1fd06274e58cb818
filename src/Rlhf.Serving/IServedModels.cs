namespace Rlhf.Serving;

/// <summary>The models that an API serves, by name.</summary>
internal interface IServedModels
{
    /// <summary>What to do where there is no model: one sentence.</summary>
    string NothingYet { get; }

    /// <summary>Names of the models, the one that answers where a request names none first.</summary>
    IReadOnlyList<string> Names();

    /// <summary>A model, which is loaded when need be; dispose what is returned when the request is answered.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="cancellation">Cancelled when the client leaves.</param>
    /// <exception cref="IOException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    Task<ServedModel> TakeAsync(string name, CancellationToken cancellation);
}
