//! Tokens of programs: kept as hashes, found by them, revoked once, and used without being written each time.

use crate::support::{Sandbox, account_id, both_databases, instant};
use creditd::core::access::{Reach, Scope};
use creditd::core::token::{TOKEN_BYTES, Token, TokenHash, token_of};
use creditd::store::{StoreError, TokenRecord};

fn token(byte: u8, reach: Reach, created_at: &str) -> Token {
    let hash = TokenHash::of_token(token_of([byte; TOKEN_BYTES]).expose()).expect("a token");
    let created_at = instant(created_at);
    let (scope, expires_at) = (Scope::Charge, Some(created_at.plus_days(90)));
    Token { hash, name: "checkout".into(), scope, reach, created_at, expires_at, revoked_at: None }
}

both_databases! {
    async fn a_token_is_found_by_its_hash_until_it_is_revoked(sandbox: Sandbox) {
        let store = sandbox.store();
        assert_eq!(store.tokens(10).await.expect("none"), []);
        let of_acme = token(1, Reach::Account(account_id("acme")), "2013-01-01T00:00:00Z");
        let of_all = Token { expires_at: None, ..token(2, Reach::Platform, "2013-01-02T00:00:00Z") };
        for token in [&of_acme, &of_all] {
            store.add_token(token).await.expect("kept");
        }
        assert!(store.add_token(&of_acme).await.is_err(), "a token is made once");
        let unused = |token: &Token| TokenRecord { token: token.clone(), last_used_at: None };
        assert_eq!(store.token(&of_acme.hash).await.expect("read"), Some(unused(&of_acme)));
        assert_eq!(store.tokens(10).await.expect("two"), [unused(&of_all), unused(&of_acme)]);
        assert_eq!(store.tokens(1).await.expect("the newest").len(), 1);

        // The same id is not the same hash.
        let other = TokenHash::kept(&format!("{}{}", of_acme.hash.id(), "0".repeat(52)));
        assert_eq!((other.id(), store.token(&other).await.expect("read")), (of_acme.hash.id(), None));
        let unknown = "0123456789ab".parse().expect("an id");
        assert_eq!(store.revoke_token(&unknown, instant("2013-01-03T00:00:00Z")).await.expect("none"), None);

        for at in ["2013-01-03T00:00:00Z", "2013-01-04T00:00:00Z"] {
            let revoked = store.revoke_token(&of_acme.hash.id(), instant(at)).await.expect("revoked").expect("known");
            assert_eq!(revoked.token.revoked_at, Some(instant("2013-01-03T00:00:00Z")));
            assert_eq!(store.token(&of_acme.hash).await.expect("read"), Some(revoked));
        }
        sandbox.assert_verified().await;
    }

    async fn the_last_use_of_a_token_only_moves_on(sandbox: Sandbox) {
        let store = sandbox.store();
        let token = token(3, Reach::Platform, "2013-01-01T00:00:00Z");
        store.add_token(&token).await.expect("kept");
        let id = token.hash.id();
        for (used, last) in [("02", "02"), ("01", "02"), ("03", "03")] {
            let at = |day: &str| instant(&format!("2013-01-{day}T00:00:00Z"));
            store.note_token_use(&id, at(used)).await.expect("noted");
            let record = store.token(&token.hash).await.expect("read").expect("known");
            assert_eq!(record.last_used_at, Some(at(last)));
        }
        sandbox.assert_verified().await;
    }

    async fn a_token_that_was_changed_past_creditd_opens_nothing(sandbox: Sandbox) {
        let store = sandbox.store();
        let token = token(4, Reach::Account(account_id("acme")), "2013-01-01T00:00:00Z");
        store.add_token(&token).await.expect("kept");
        for change in ["scope = 'admin'", "account_id = NULL", "expires_at = NULL"] {
            let column = change.split(' ').next().expect("a column");
            sandbox.execute(&format!("CREATE TABLE was AS SELECT * FROM tokens; UPDATE tokens SET {change}")).await.expect("changed");
            assert!(matches!(store.token(&token.hash).await, Err(StoreError::Corrupt(_))), "{change}");
            let back = format!("UPDATE tokens SET {column} = (SELECT {column} FROM was); DROP TABLE was");
            sandbox.execute(&back).await.expect("put back");
        }
        assert!(store.token(&token.hash).await.expect("read").is_some());
    }
}
