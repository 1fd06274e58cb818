using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Extensions;
using Microsoft.AspNetCore.Routing;
using Rlhf.Serving;

namespace Rlhf.Studio.Hosting;

/// <summary>
/// Where a token is set, lets nothing through without it: a cookie from signing in, <c>?token=</c> once, or a bearer header.
/// </summary>
internal sealed class TokenGate(RequestDelegate next, SessionToken token)
{
    internal const string LoginPath = "/login", Parameter = "token";

    public async Task InvokeAsync(HttpContext context)
    {
        var request = context.Request;
        if (!token.IsNeeded || IsPublic(request.Path))
        {
            await next(context);
            return;
        }
        string? inAddress = HttpMethods.IsGet(request.Method) ? request.Query[Parameter] : default(string);
        if (token.Matches(inAddress))
        {
            GiveCookie(context, token);
            var rest = QueryString.Create(request.Query.Where(q => q.Key != Parameter));
            context.Response.Redirect(UriHelper.BuildRelative(request.PathBase, request.Path, rest));
            return;
        }
        string? cookie = request.Cookies[SessionToken.CookieName(context.Connection.LocalPort)], bearer = Bearer(request);
        if (token.MatchesCookie(cookie) || token.Matches(bearer))
        {
            await next(context);
            return;
        }
        if ((inAddress ?? cookie ?? bearer) is not null)
            await token.SlowDownAsync(context.RequestAborted);
        if (HttpMethods.IsGet(request.Method) && !ApiErrors.Concerns(context)
            && request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal))
        {
            context.Response.Redirect(LoginPath);
            return;
        }
        context.Response.Headers.WWWAuthenticate = "Bearer";
        await ApiErrors.RefuseAsync(context, StatusCodes.Status401Unauthorized, "The studio's token is missing or wrong.",
            code: "invalid_api_key");
    }

    internal static void GiveCookie(HttpContext context, SessionToken token) =>
        context.Response.Cookies.Append(SessionToken.CookieName(context.Connection.LocalPort), token.Cookie, new()
        {
            HttpOnly = true,
            SameSite = SameSiteMode.Strict,
            Secure = context.Request.IsHttps,
            MaxAge = TimeSpan.FromDays(30),
        });

    /// <summary>The login page and what it looks like; nothing of the runs.</summary>
    private static bool IsPublic(PathString path) => path == LoginPath || path.StartsWithSegments("/assets");

    private static string? Bearer(HttpRequest request) =>
        request.Headers.Authorization.ToString() is var header && header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase)
            ? header["Bearer ".Length..].Trim() : null;
}

/// <summary>The page that asks for the token.</summary>
internal static class TokenLogin
{
    public static void MapTokenLogin(this IEndpointRouteBuilder app)
    {
        app.MapGet(TokenGate.LoginPath, (HttpContext context, IAntiforgery antiforgery) => Page(context, antiforgery, ""));
        app.MapPost(TokenGate.LoginPath, async (HttpContext context, IAntiforgery antiforgery, SessionToken token) =>
        {
            if (!await antiforgery.IsRequestValidAsync(context))
                return Page(context, antiforgery, "The page was old. Try once more.");
            var form = await context.Request.ReadFormAsync(context.RequestAborted);
            if (token.Matches(form[TokenGate.Parameter].ToString().Trim()))
            {
                TokenGate.GiveCookie(context, token);
                return Results.Redirect("/");
            }
            await token.SlowDownAsync(context.RequestAborted);
            return Page(context, antiforgery, "That is not this studio's token.");
        }).DisableAntiforgery(); // it is checked above, to answer with a page
    }

    private static IResult Page(HttpContext context, IAntiforgery antiforgery, string problem)
    {
        var tokens = antiforgery.GetAndStoreTokens(context);
        string html = $"""
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
            <title>Sign in · rlhf studio</title><link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
            <link rel="stylesheet" href="/assets/studio.css"></head>
            <body class="login"><main class="login-card"><div class="brand"><span class="brand-mark"></span>rlhf studio</div>
            <form method="post" action="{TokenGate.LoginPath}">
            <label for="token">Token</label>
            <input id="token" name="{TokenGate.Parameter}" type="password" autocomplete="current-password" autofocus required
              aria-describedby="note">
            <input type="hidden" name="{tokens.FormFieldName}" value="{tokens.RequestToken}">
            <button class="button primary" type="submit">Open the studio</button>
            <p id="note" class="{(problem == "" ? "muted" : "problem")}" role="status">{(problem == ""
                ? "The terminal that runs <code>rlhf studio</code> knows it." : problem)}</p>
            </form></main></body></html>
            """;
        return Results.Content(html, "text/html; charset=utf-8", statusCode: problem == "" ? 200 : 401);
    }
}
