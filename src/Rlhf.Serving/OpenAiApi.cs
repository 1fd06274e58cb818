using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Rlhf.Serving;

/// <summary>
/// <c>/v1/models</c>, <c>/v1/completions</c> and <c>/v1/chat/completions</c> in the form of OpenAI's API, so that existing clients can write
/// with an aligned model.
/// </summary>
internal static class OpenAiApi
{
    /// <summary>Adds the endpoints; the models come from the <see cref="IServedModels"/> among the services, limits from the <see cref="ServingLimits"/>.</summary>
    public static void MapOpenAi(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/models", (IServedModels models) => Results.Json(
            new { Object = "list", Data = models.Names().Select(Described) }, ApiErrors.Json));
        // A run in a subfolder has a slash in its name. Clients write it as it is or as %2F, which the server leaves as it is.
        app.MapGet("/v1/models/{**name}", (string name, HttpContext context, IServedModels models) =>
        {
            static string Plain(string name) => name.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
            string? found = models.Names().OrderByDescending(n => n == name).FirstOrDefault(n => Plain(n) == Plain(name));
            var missing = found is null ? ApiRequest.NoModel(models, name) : null;
            return missing is null ? context.Response.WriteAsJsonAsync(Described(found!), ApiErrors.Json, context.RequestAborted)
                : ApiErrors.WriteAsync(context, missing.Status, new(missing.Message, Param: missing.Field, Code: missing.Code));
        });
        // For programs, which have no antiforgery token.
        app.MapPost("/v1/completions", CompletionsEndpoint.AnswerAsync).DisableAntiforgery();
        app.MapPost("/v1/chat/completions", ChatEndpoint.AnswerAsync).DisableAntiforgery();
    }

    private static object Described(string model) => new { Id = model, Object = "model", Created = 0, OwnedBy = "rlhf" };
}
